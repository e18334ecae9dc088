"""The page's modules without a DOM, run by Node."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

STATIC = Path(__file__).parents[3] / "three_mode" / "page" / "static"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="Node is not here (Debian: nodejs)")


def answers(folder: Path, script: str, given: Any) -> Any:
    """What a module answers that imports from "./page/..." and calls `given` what it is given: its `answer`."""
    shutil.copytree(STATIC, folder / "page", dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    run = (
        'import {readFileSync, writeFileSync} from "node:fs";\n'
        'const given = JSON.parse(readFileSync(0, "utf8"));\n'
        f"{script}\n"
        "writeFileSync(1, JSON.stringify(answer));\n"
    )
    (folder / "run.js").write_text(run)
    assert NODE is not None
    done = subprocess.run(
        [NODE, "run.js"], cwd=folder, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
