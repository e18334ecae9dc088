"""Clock of the policies: one object, so that a test can replace it."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

FOREVER = float("inf")


class Timer(Protocol):
    """Pending call of a clock."""

    def cancel(self) -> None:
        """Cancels the call."""


class Clock(Protocol):
    """Monotonic clock, in seconds."""

    def now(self) -> float:
        """Seconds on a scale that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds`."""
        ...

    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer:
        """Calls `what` after `seconds`, unless the timer is cancelled."""
        ...


class MonotonicClock:
    """Clock that event loops and deadlines use."""

    now = staticmethod(time.monotonic)  #: seconds on a scale that never goes back

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds`."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer:
        """Calls `what` after `seconds`, unless the timer is cancelled."""
        return asyncio.get_running_loop().call_later(seconds, what)


MONOTONIC = MonotonicClock()
