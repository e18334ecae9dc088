"""Checks of the interpreter, of its event loop, and of the packages that are imported."""

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from three_mode.doctor.check import Check, Status

AREA = "python"
REINSTALL = "install three-mode again: `make venv` in a clone, or pip install --force-reinstall with its wheel"
OLDEST = (3, 11)


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield interpreter()
    yield event_loop()
    yield shadowing(Path(__file__).resolve().parents[2])


def interpreter() -> Check:
    """Checks the version of Python."""
    found = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    if sys.version_info < OLDEST:
        return Check(AREA, "python", Status.BROKEN, found, "install Python 3.11 or later")
    return Check(AREA, "python", Status.OK, found)


def event_loop() -> Check:
    """Checks that uvloop is installed."""
    version = installed("uvloop")
    if version is None:
        return Check(AREA, "uvloop", Status.LIMITED, "not installed: asyncio's own loop is used", "pip install uvloop")
    return Check(AREA, "uvloop", Status.OK, version)


def shadowing(root: Path) -> Check:
    """Checks that `transports` is this package: an unrelated one of that name may come first on the path."""
    spec = importlib.util.find_spec("transports")
    where = Path(spec.origin).resolve() if spec and spec.origin else None
    if where is None:
        return Check(
            AREA,
            "transports",
            Status.BROKEN,
            "cannot be imported",
            REINSTALL,
        )
    if where != root / "transports" / "__init__.py":
        return Check(
            AREA,
            "transports",
            Status.BROKEN,
            f"another package of that name is imported: {where.parent}",
            f"pip uninstall transports, or move that folder off the path; then {REINSTALL}",
        )
    return Check(AREA, "transports", Status.OK, "ours")


def installed(distribution: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
