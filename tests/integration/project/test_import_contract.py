"""Import contracts (contracts.toml): the tree keeps each, and a violation of each is found."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("three_mode", "transports", "local_models", "agents_demo", "benchmarks", "scripts")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "contracts.toml").read_text())["tool"]["importlinter"][
    "contracts"
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "contracts.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache", "--config", "contracts.toml"],
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin", "COLUMNS": "400"},
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


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: str(contract["name"])[:40])
def test_a_violation_of_each_contract_is_found(house: Path, contract: dict[str, Any]) -> None:
    importer, imported = _violation(contract)
    file = house.joinpath(*importer.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    # Inside a function that nobody calls: such imports count too.
    file.write_text(f"{file.read_text()}\n\ndef _planted() -> None:\n    import {imported}  # noqa: F401\n")
    done = lint(house)
    verdict = next(line for line in done.stdout.splitlines() if line.startswith(contract["name"]))
    assert verdict.split(contract["name"])[1].startswith((" BROKEN", "BROKEN")), done.stdout
    assert importer in done.stdout
    assert imported in done.stdout


def _violation(contract: dict[str, Any]) -> tuple[str, str]:
    """A module, and another that the contract forbids it to import."""
    if contract["type"] == "layers":
        names = [[name.strip() for name in layer.replace("|", ":").split(":")] for layer in contract["layers"]]
        container = contract.get("containers", [""])[0]
        prefix = f"{container}." if container else ""
        return f"{prefix}{names[-1][0]}", f"{prefix}{names[0][0]}"
    if contract["type"] == "forbidden":
        forbidden = contract["forbidden_modules"][0]
        return contract["source_modules"][0], _inside(forbidden)
    return "three_mode.modes", _inside(contract["protected_modules"][0])


def _inside(module: str) -> str:
    """The module, or for `package.*` one that is in the package."""
    if not module.endswith(".*"):
        return module
    package = ROOT.joinpath(*module.removesuffix(".*").split("."))
    inner = min(path.stem for path in package.glob("*.py") if not path.stem.startswith("_"))
    return f"{module.removesuffix('.*')}.{inner}"
