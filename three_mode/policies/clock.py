"""Time, as the policies see it: one object, so that a test can hold it still."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

FOREVER = float("inf")


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """`now` is monotonic, in seconds; `sleep` waits on the same scale."""

    def now(self) -> float:
        """Seconds on a scale that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits so many seconds."""
        ...

    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer:
        """Calls `what` after so many seconds, unless the timer is cancelled."""
        ...


class MonotonicClock:
    """The same clock that event loops and deadlines use."""

    now = staticmethod(time.monotonic)  #: seconds on a scale that never goes back

    async def sleep(self, seconds: float) -> None:
        """Waits so many seconds."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer:
        """Calls `what` after so many seconds, unless the timer is cancelled."""
        return asyncio.get_running_loop().call_later(seconds, what)


MONOTONIC = MonotonicClock()
