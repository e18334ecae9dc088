"""Time, as the policies see it: one object, so that a test can hold it still."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """`now` is monotonic, in seconds; `sleep` waits on the same scale."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class MonotonicClock:
    """The same clock that event loops and deadlines use."""

    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


MONOTONIC = MonotonicClock()
