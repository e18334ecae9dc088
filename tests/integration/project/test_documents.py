"""The examples in the documents run as they stand, and what they link to is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HUGGING_FACE = "hugging-face.md"
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#:]+)\)")


def examples() -> list[tuple[str, str]]:
    """Each ```python block of the documents that people use; decision notes sketch what was to be built.

    Those of the tutorial run in test_tutorial.py, which compares what they print.
    """
    return [
        (f"{document.relative_to(ROOT)}:{number}", found["code"])
        for document in DOCUMENTS
        if "decisions" not in document.parts and document.name != "tutorial.md"
        for number, found in enumerate(EXAMPLE.finditer(document.read_text()), 1)
    ]


def parameters() -> list[Any]:
    """The examples, each under its name; those with models of Hugging Face are left out where PyTorch is missing."""
    return [
        pytest.param(place, code, id=place, marks=[pytest.mark.hf] if HUGGING_FACE in place else [])
        for place, code in examples()
    ]


@pytest.mark.parametrize(("place", "code"), parameters())
def test_an_example_runs(place: str, code: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if HUGGING_FACE in place:
        models, _ = request.getfixturevalue("hugging_face")
        shutil.copytree(models / "llama", tmp_path / "models" / "brain")
        shutil.copytree(models / "bert", tmp_path / "models" / "encoder")
    script = tmp_path / "example.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,  # an example may write a file
    )
    assert done.returncode == 0, f"{place}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.finditer(document.read_text()):
        assert (document.parent / link["target"]).exists(), link["target"]


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z]+)\b", document.read_text()))
        assert named - {"alone"} <= targets, named - targets
