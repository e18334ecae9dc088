"""Deadlines for thousands of calls with one timer.

A timer for each call and each piece of a stream would cost more than the piece. A deadline is a number here, which its
owner changes freely. The one timer sleeps until the earliest announced deadline, then checks all deadlines, and sleeps
again. A deadline that only moves later, such as that of a live stream, costs nothing in between.
"""

import asyncio
from typing import Protocol

NEVER = float("inf")


class HasDeadline(Protocol):
    """Something with a deadline, in the loop's time."""

    deadline: float

    def expire(self, now: float) -> None:
        """Handles a deadline that has passed: moves it, or leaves `DeadlineTimer.watched`."""


class DeadlineTimer:
    """One timer of the event loop for any number of deadlines. `watched` holds their owners."""

    __slots__ = ("_handle", "_loop", "_wakes_at", "watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = NEVER
        self.watched: set[HasDeadline] = set()

    def heed(self, deadline: float) -> None:
        """Announces a deadline that may be earlier than all others."""
        if deadline < self._wakes_at:
            if self._handle is not None:
                self._handle.cancel()
            self._wakes_at = deadline
            self._handle = self._loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._handle = None
        self._wakes_at = NEVER
        now = self._loop.time()
        for owner in [owner for owner in self.watched if owner.deadline <= now]:
            owner.expire(now)
        earliest = min((owner.deadline for owner in self.watched), default=NEVER)
        if earliest != NEVER:
            # The loop may fire early by its clock's resolution. A millisecond keeps the timer from spinning.
            self.heed(max(earliest, now + 0.001))

    def close(self) -> None:
        """Cancels the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wakes_at = NEVER
