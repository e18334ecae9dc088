"""Deadlines of thousands of connections with one timer.

A deadline is a number that its owner moves as it likes. The owner lies in the bucket of a tick of the clock; when the
tick comes, an owner whose deadline has moved later moves to a later bucket. A deadline that moves later costs nothing
when it moves, and a tick looks at few connections, however many there are.
"""

import asyncio
from typing import Protocol

NEVER = float("inf")
TICK = 0.1


class Expires(Protocol):
    """Something with a deadline, in the loop's time. `watched_at` is the wheel's own; 0 to begin with."""

    deadline: float
    watched_at: int

    def expire(self, now: float) -> None:
        """The deadline has passed; the owner moves it, or sets it to NEVER."""


class DeadlineWheel:
    """Calls `expire` within a tick or two of the deadline."""

    __slots__ = ("_buckets", "_handle", "_loop", "_next", "_past")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, set[Expires]] = {}
        self._past = int(loop.time() / TICK)  # the last tick that came
        self._handle: asyncio.TimerHandle | None = None
        self._next = 0  # the tick that the timer waits for

    def watch(self, owner: Expires) -> None:
        """The owner's deadline is new, or may be earlier than before."""
        deadline, lies_in = owner.deadline, owner.watched_at
        if deadline == NEVER:
            return
        bucket = int(deadline / TICK) + 1
        if lies_in:
            if lies_in <= bucket:
                return
            self._buckets[lies_in].discard(owner)
        if self._handle is None:
            self._past = int(self._loop.time() / TICK)
        bucket = max(bucket, self._past + 1)
        owner.watched_at = bucket
        self._buckets.setdefault(bucket, set()).add(owner)
        if self._handle is None or bucket < self._next:
            self._wait_for(bucket)

    def _wait_for(self, bucket: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next = bucket
        self._handle = self._loop.call_at(bucket * TICK, self._tick)

    def forget(self, owner: Expires) -> None:
        """The owner is over: nothing of it is kept."""
        owner.deadline = NEVER
        if owner.watched_at:
            self._buckets[owner.watched_at].discard(owner)
            owner.watched_at = 0

    def _tick(self) -> None:
        self._handle = None
        now = self._loop.time()
        due = [bucket for bucket in self._buckets if bucket * TICK <= now]
        self._past = int(now / TICK)
        for bucket in due:
            for owner in self._buckets.pop(bucket):
                owner.watched_at = 0
                if owner.deadline <= now:
                    owner.expire(now)
                self.watch(owner)
        if self._buckets:
            self._wait_for(min(self._buckets))

    def close(self) -> None:
        """Ends the timer; what it refers to is let go."""
        for owners in self._buckets.values():
            for owner in owners:
                owner.watched_at = 0
        self._buckets.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
