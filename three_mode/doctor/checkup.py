"""Checkup: all checks, in the order of the report."""

from collections.abc import Callable, Iterator

from three_mode.doctor import bus, kernel, limits, models, remote, runtime
from three_mode.doctor.check import Check, Status

_AREAS: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
    ("python", runtime.checks),
    ("kernel", kernel.checks),
    ("bus", bus.checks),
    ("remote models", remote.checks),
    ("local models", models.checks),
    ("limits", limits.checks),
)


def checkup(more: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = ()) -> Iterator[Check]:
    """Runs all checks, and more. A check that raises becomes a finding itself, and does not end the others."""
    for area, checks in (*_AREAS, *more):
        try:
            yield from checks()
        except Exception as error:  # noqa: BLE001  (reported as a finding, with its type)
            yield Check(area, area, Status.BROKEN, f"{type(error).__name__}: {error}", "please report this")
