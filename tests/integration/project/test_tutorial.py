"""Every program of the tutorial runs as it stands, in order, and prints what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial.md"
PROGRAM = re.compile(
    r"^```python\n# (?P<file>\w+\.py)\n(?P<code>.*?)^```\n```text\n(?P<shown>.*?)^```", re.MULTILINE | re.DOTALL
)
PROGRAMS = {found["file"]: (found["code"], found["shown"]) for found in PROGRAM.finditer(TUTORIAL.read_text())}


def fits(printed: str, shown: str) -> bool:
    """`...` on the page stands for anything on that line."""
    pattern = re.escape(shown.strip()).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, printed.strip()) is not None


def test_every_program_has_a_file_name_and_shows_its_output() -> None:
    assert len(PROGRAMS) == TUTORIAL.read_text().count("```python\n") >= 9


@pytest.mark.parametrize("file", PROGRAMS)
def test_a_program_of_the_tutorial_prints_what_the_page_shows(file: str, tmp_path: Path) -> None:
    code, shown = PROGRAMS[file]
    (tmp_path / file).write_text(code)
    command = [sys.executable, "-W", "error", file]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout, shown), done.stdout
