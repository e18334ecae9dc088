"""The interpreter, its event loop, and the packages that are really imported."""

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
    yield interpreter()
    yield event_loop()
    yield shadowing(Path(__file__).resolve().parents[2])


def interpreter() -> Check:
    found = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    if sys.version_info < OLDEST:
        return Check(AREA, "python", Status.BROKEN, found, "install Python 3.11 or later")
    return Check(AREA, "python", Status.OK, found)


def event_loop() -> Check:
    version = installed("uvloop")
    if version is None:
        return Check(AREA, "uvloop", Status.LIMITED, "not installed: asyncio's own loop is used", "pip install uvloop")
    return Check(AREA, "uvloop", Status.OK, version)


def shadowing(home: Path) -> Check:
    """`transports` is also the name of an unrelated package: whichever comes first on the path wins."""
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
    if where != home / "transports" / "__init__.py":
        return Check(
            AREA,
            "transports",
            Status.BROKEN,
            f"another package of that name is imported: {where.parent}",
            f"pip uninstall transports, or move that folder off the path; then {REINSTALL}",
        )
    return Check(AREA, "transports", Status.OK, "ours")


def installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
