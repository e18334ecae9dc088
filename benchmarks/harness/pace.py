"""Pace of the machine during a run: one fixed piece of work, timed between rounds.

A neighbour on the other hyper-thread of a core halves its speed for seconds or for hours, and the load of this machine
does not show it. Ratios suffer too: computation is slowed, waiting for the kernel is not.
"""

import time
from statistics import median
from typing import TypedDict

_WORK = 2000  # about a tenth of a millisecond
_TRIES = 3  # the fastest counts: an interruption is not the pace


class Pace(TypedDict):
    """Microseconds of the fixed work."""

    median: float
    fastest: float


def beat() -> float:
    """Returns the seconds of the fixed work, the fastest of a few tries."""
    return min(_beat() for _ in range(_TRIES))


def _beat() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(_WORK):
        total += number
    return time.perf_counter() - started


def pace(beats: list[float]) -> Pace:
    """Summarizes the seconds of a run."""
    return {"median": round(1e6 * median(beats), 1), "fastest": round(1e6 * min(beats), 1)}
