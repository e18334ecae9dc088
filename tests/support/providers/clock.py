"""Clock that stands still until a test advances it."""

import asyncio
from collections.abc import Callable


class FakeClock:
    """Clock of a test. `advance` wakes all that sleep until then, in order."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, future))
        await future

    def call_later(self, seconds: float, what: Callable[[], None]) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: None if done.cancelled() else what())
        self._sleepers.append((self.time + seconds, future))
        return future

    async def advance(self, seconds: float) -> None:
        await settle()
        end = self.time + seconds
        while due := sorted((e for e in self._sleepers if e[0] <= end and not e[1].done()), key=lambda e: e[0]):
            self.time = max(self.time, due[0][0])
            self._sleepers.remove(due[0])
            due[0][1].set_result(None)
            await settle()
        self.time = end
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
