"""Where the processes of a benchmark run.

Some machines' schedulers, those of packed virtual ones above all, put two processes that wake each other onto one core and
leave the other idle. Two that talk then take turns, at twice the time, and which pair of subjects that happens to is chance.
So the main thread of each process that is measured gets a core, the same way for every subject; threads that it started
before stay free, which is to the good of peers with threads of their own.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def this_thread_on(place: int) -> Iterator[None]:
    """Core number `place`, counted from 0 and beginning again behind the last."""
    before = os.sched_getaffinity(0)
    seat(place)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seat(place: int, pid: int = 0) -> None:
    """The main thread of a process, or without a `pid` the calling thread."""
    cores = sorted(_CORES)
    os.sched_setaffinity(pid, {cores[place % len(cores)]})


def spread(pids: Iterable[int]) -> None:
    """One core after the other."""
    for place, pid in enumerate(sorted(pids)):
        seat(place, pid)


_CORES = os.sched_getaffinity(0)
