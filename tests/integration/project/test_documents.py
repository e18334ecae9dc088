"""The examples in the documents run as they stand, and what they link to is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
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


@pytest.mark.parametrize(("place", "code"), examples(), ids=[place for place, _ in examples()])
def test_an_example_runs(place: str, code: str, tmp_path: Path) -> None:
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
