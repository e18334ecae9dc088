"""The wheelhouse of this machine, installed into an empty environment without an index: what a second machine does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=110, env=os.environ | environment, cwd="/"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_second_machine_installs_it_without_an_index_and_a_compiler(tmp_path: Path) -> None:
    house, there = tmp_path / "wheelhouse", tmp_path / "there"
    run(sys.executable, ROOT / "scripts" / "wheelhouse.py", "--out", house, "local")
    names = {path.name.partition("-")[0] for path in house.iterdir()}
    assert {"three_mode", "llama_cpp_python", "numpy", "uvloop"} <= names
    assert {path.suffix for path in house.iterdir()} == {".whl"}
    run(sys.executable, "-m", "venv", there)
    # No index, no settings of pip, and neither a compiler nor the package of the checkout to be found.
    alone = {"PATH": str(there / "bin"), "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PYTHONPATH": ""}
    pip = (there / "bin" / "python", "-m", "pip", "install", "-q", "--no-index", "--find-links", house)
    run(*pip, "three-mode[local]", **alone)
    said = run(there / "bin" / "three-mode", "chat", "tiny", "--say", "What is 21 + 34?", **alone)
    assert said.startswith("55")
