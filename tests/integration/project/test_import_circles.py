"""No circle of imports: those inside functions and under TYPE_CHECKING count."""

import shutil
from pathlib import Path

import pytest

from tests.support.project.import_graph import arrows_within, circles, import_graph

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("three_mode", "transports", "local_models", "agents_demo", "benchmarks")
# Modules and packages that may still have circles among themselves: none.
NOT_YET: tuple[str, ...] = ()


def found(root: Path) -> list[str]:
    """Describe each circle, but for those that lie wholly within NOT_YET."""
    graph = import_graph(root, PACKAGES)
    allowed = tuple(f"{name}." for name in NOT_YET)
    return [
        "\n".join(arrows_within(graph, circle))
        for circle in circles(graph)
        if not all(f"{module}.".startswith(allowed) for module in circle)
    ]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the Python files of all packages, for a test to change."""
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return tmp_path


def test_there_is_no_circle_of_imports() -> None:
    assert found(ROOT) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import three_mode.planted.two\n", "import three_mode.planted.one\n"),
        ("from three_mode.planted import two\n", "from three_mode.planted import one\n"),
        ("from three_mode.planted.two import two\n", "def late():\n    from three_mode.planted.one import one\n"),
        (
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from three_mode.planted.two import Two\n",
            "from three_mode.planted.one import One\n",
        ),
        ("from . import two\n", "from .one import One\n"),
        ("from three_mode.planted import Named\n", ""),  # a name of the package, which has it from this very module
        ("import three_mode.planted.one\n", ""),
    ],
    ids=["import", "from the package", "in a function", "for types", "relative", "through the package", "itself"],
)
def test_a_planted_circle_is_found(copy: Path, one: str, other: str) -> None:
    planted = copy / "three_mode" / "planted"
    planted.mkdir()
    (planted / "__init__.py").write_text("from three_mode.planted.one import Named\n")
    (planted / "one.py").write_text(one)
    (planted / "two.py").write_text(other)
    (circle,) = found(copy)
    assert "three_mode.planted.one -> " in circle


def test_what_is_no_circle_is_not_found(copy: Path) -> None:
    planted = copy / "three_mode" / "planted"
    planted.mkdir()
    (planted / "__init__.py").write_text('_HOME = {"One": "three_mode.planted.one"}\nimport three_mode.planted.two\n')
    (planted / "one.py").write_text("from three_mode.planted import two, _HOME\n")  # the package names it in a string
    (planted / "two.py").write_text("import three_mode.planted.three\n")  # runs the package, and takes no name of it
    (planted / "three.py").write_text("import json\n")
    assert found(copy) == []


def test_a_module_that_comes_back_on_a_long_way_is_found(copy: Path) -> None:
    errors = copy / "three_mode" / "errors.py"
    errors.write_text(errors.read_text() + "\n\ndef late():\n    from three_mode.serve import app\n")
    (circle,) = found(copy)
    assert "three_mode.errors -> three_mode.serve.app" in circle
