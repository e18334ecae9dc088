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

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer: ...


class MonotonicClock:
    """The same clock that event loops and deadlines use."""

    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, what: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, what)


MONOTONIC = MonotonicClock()
