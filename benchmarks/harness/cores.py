"""Cores: pins the measured processes of a benchmark.

Some schedulers, above all those of packed virtual machines, put two processes that wake each other onto one core and
leave another core idle. The two then take turns, at twice the time, and chance decides which subjects it happens to.
Therefore the main thread of each measured process gets a core, in the same way for every subject. Threads that the
process started before stay free, which favours peers with threads.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def this_thread_on(place: int) -> Iterator[None]:
    """Pins the calling thread to core number `place` for the block; numbers after the last core begin again at 0."""
    before = os.sched_getaffinity(0)
    seat(place)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seat(place: int, pid: int = 0) -> None:
    """Pins the main thread of a process, or without `pid` the calling thread."""
    cores = sorted(_CORES)
    os.sched_setaffinity(pid, {cores[place % len(cores)]})


def spread(pids: Iterable[int]) -> None:
    """Pins processes to one core after the other."""
    for place, pid in enumerate(sorted(pids)):
        seat(place, pid)


_CORES = os.sched_getaffinity(0)
