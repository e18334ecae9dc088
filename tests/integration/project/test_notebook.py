"""The notebook of the documents runs from its first cell to its last, and shows what is stored in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="the group `dev` is not installed")

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
RUNNER = ROOT / "tests" / "support" / "project" / "run_notebook.py"


def shown(notebook: dict[str, Any]) -> list[list[str]]:
    """Return what each cell of code shows: its prints, and the value of its last line."""
    outputs = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [["".join(output.get("text") or output["data"]["text/plain"]) for output in cell] for cell in outputs]


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    command = [sys.executable, RUNNER, NOTEBOOK, ROOT, tmp_path / "kernel"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    stored = shown(json.loads(NOTEBOOK.read_text()))
    assert shown(json.loads(ran.stdout)) == stored
    assert stored[0] == stored[-1] == []
    assert all(stored[1:-1])
