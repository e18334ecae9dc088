"""Timing: takes samples of all subjects in turn, so that a slow minute of the machine affects them all."""

import gc
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from benchmarks.harness.pace import beat

LEAST = 3  # rounds that are always taken


class Budget:
    """Time of a benchmark.

    `until` is its end on the monotonic clock, `cut_to` has the numbers of rounds where the time ended first, and
    `beats` the pace of the machine before each round.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self.cut_to: set[int] = set()
        self.beats: list[float] = []

    def over(self, taken: int) -> bool:
        """Whether the time has ended and enough rounds were taken; records the number of rounds then."""
        if taken < LEAST or time.monotonic() <= self.until:
            return False
        self.cut_to.add(taken)
        return True


_budget: ContextVar[Budget] = ContextVar("budget", default=Budget(math.inf))  # noqa: B039  # without an end it stays empty


@contextmanager
def within(seconds: float) -> Iterator[Budget]:
    """Limits the time of a block: after it, no more rounds are taken than a median needs."""
    budget = Budget(time.monotonic() + seconds)
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


def timed(work: Callable[[], object], calls: int = 1) -> Callable[[], float]:
    """Returns a function that takes a sample: seconds per call of `work`, over `calls` calls."""

    def sample() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - started) / calls

    return sample


def timed_async(work: Callable[[], Awaitable[object]], calls: int = 1) -> Callable[[], Awaitable[float]]:
    """Does the same as `timed` for a coroutine function, one call after another."""

    async def sample() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            await work()
        return (time.perf_counter() - started) / calls

    return sample


def alternate(
    subjects: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1, block: int = 1
) -> dict[str, list[float]]:
    """Takes `block` samples of every subject in each round, in rotating order; collects garbage between rounds."""
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + rounds):
        if number > warm_up and _budget.get().over(number - warm_up):
            break
        _between_rounds()
        for name in _rotated(list(subjects), number):
            values = [subjects[name]() for _ in range(block)]
            if number >= warm_up:
                samples[name] += values
    return samples


async def alternate_async(
    subjects: Mapping[str, Callable[[], Awaitable[float]]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Does the same as `alternate` for samples that are awaited."""
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + rounds):
        if number > warm_up and _budget.get().over(number - warm_up):
            break
        _between_rounds()
        for name in _rotated(list(subjects), number):
            value = await subjects[name]()
            if number >= warm_up:
                samples[name].append(value)
    return samples


def _between_rounds() -> None:
    gc.collect()
    _budget.get().beats.append(beat())


def _rotated(names: list[str], number: int) -> list[str]:
    start = number % max(len(names), 1)
    return names[start:] + names[:start]
