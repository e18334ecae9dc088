"""One version everywhere: pyproject.toml, CITATION.cff, CHANGELOG.md, `__version__` and `--version`."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import three_mode

ROOT = Path(__file__).resolve().parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_package_says_the_version_that_is_installed() -> None:
    assert three_mode.__version__ == VERSION


def test_the_command_says_it_too() -> None:
    command = [sys.executable, "-m", "three_mode.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == f"three-mode {VERSION}\n"


def test_the_citation_and_the_changelog_say_it_too() -> None:
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited is not None
    assert newest is not None
    assert cited[1] == newest[1] == VERSION


def test_code_that_was_never_installed_does_not_know_its_version(tmp_path: Path) -> None:
    (tmp_path / "three_mode").mkdir()
    shutil.copy(ROOT / "three_mode" / "__init__.py", tmp_path / "three_mode")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import three_mode; print(three_mode.__version__)"
    done = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0+unknown\n"
