"""How fast the machine was meanwhile: one fixed piece of work, timed between rounds.

A neighbour on the other half of a processor's core halves its speed for seconds or for hours, and no load of our own shows it. Ratios
suffer too: what computes is slowed, what waits for the kernel is not.
"""

import time
from statistics import median
from typing import TypedDict

_WORK = 2000  # about a tenth of a millisecond
_TRIES = 3  # the fastest counts: an interruption says nothing of the pace


class Pace(TypedDict):
    """Microseconds of that work."""

    median: float
    fastest: float


def beat() -> float:
    return min(_beat() for _ in range(_TRIES))


def _beat() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(_WORK):
        total += number
    return time.perf_counter() - started


def pace(beats: list[float]) -> Pace:
    return {"median": round(1e6 * median(beats), 1), "fastest": round(1e6 * min(beats), 1)}
