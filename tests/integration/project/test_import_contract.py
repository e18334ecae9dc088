"""The arrows of the house are held by a check that can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("three_mode", "transports", "local_models", "agents_demo", "benchmarks")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"],
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def test_the_house_keeps_its_contract(house: Path) -> None:
    done = lint(house)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("transports", "three_mode.errors"),
        ("local_models", "three_mode"),
        ("transports", "local_models"),
        ("local_models", "transports"),
        ("three_mode", "agents_demo"),
        ("three_mode", "benchmarks"),
        ("agents_demo", "benchmarks"),
    ],
)
def test_a_planted_violation_is_found(house: Path, importer: str, imported: str) -> None:
    (house / importer / "planted.py").write_text(f"import {imported}\n")
    done = lint(house)
    assert done.returncode != 0, done.stdout
    assert f"{importer}.planted" in done.stdout
