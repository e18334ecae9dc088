"""Hugging Face models for tests, made once for all of them, by a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def told(place: Path) -> tuple[Path, dict[str, Any]]:
    """Makes models in a folder; returns it, with what `hugging_face.py` says of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.local_models.hugging_face", str(place)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return place, json.loads(done.stdout.splitlines()[-1])
