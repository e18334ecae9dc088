"""Deadlines for thousands of calls with one timer.

A timer per call and per piece of a stream would cost more than the piece. Here a deadline is a number that its owner
moves as it likes; the one timer sleeps until the earliest deadline it has heard of, looks at all when it wakes, and
sleeps again. Deadlines that only move later, as those of live streams do, cost nothing in between.
"""

import asyncio
from typing import Protocol

NEVER = float("inf")


class Watched(Protocol):
    """Something with a deadline, in the loop's time."""

    deadline: float

    def expire(self, now: float) -> None:
        """The deadline has passed. Whoever stays watched must have moved it."""


class DeadlineTimer:
    """Watches any number of deadlines."""

    __slots__ = ("_handle", "_loop", "_wakes_at", "watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = NEVER
        self.watched: set[Watched] = set()

    def heed(self, deadline: float) -> None:
        """A deadline was set that may be earlier than all others."""
        if deadline < self._wakes_at:
            if self._handle is not None:
                self._handle.cancel()
            self._wakes_at = deadline
            self._handle = self._loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._handle = None
        self._wakes_at = NEVER
        now = self._loop.time()
        for watched in [one for one in self.watched if one.deadline <= now]:
            watched.expire(now)
        earliest = min((one.deadline for one in self.watched), default=NEVER)
        if earliest != NEVER:
            # The loop may fire a little early by its clock's resolution; never spin on a deadline that is due.
            self.heed(max(earliest, now + 0.001))

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wakes_at = NEVER
