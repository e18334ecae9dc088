"""Agents of the tests of clusters."""

import asyncio
from collections.abc import AsyncIterator

from three_mode import Agent, handler, on
from three_mode.errors import RateLimit


class Scout(Agent):
    """Answers, counts, streams, raises, waits."""

    mailbox = 20

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.told: list[int] = []
        self.parts = self.left = 0

    @handler
    async def add(self, number: int) -> int:
        return number + 1

    @handler
    async def who(self) -> str:
        return self.name

    @handler
    async def remains(self) -> float:
        return self.remaining()

    @handler
    async def fail(self, what: str) -> None:
        if what == "limit":
            raise RateLimit("too fast", retry_after=3.0)
        raise KeyError(what)

    @handler(concurrent=100)
    async def wait(self, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.left += 1
            raise
        return "waited"

    @handler
    async def blocks(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    @handler(concurrent=100)
    async def count(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
                self.parts += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

    @handler(concurrent=100)
    async def breaks_off(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("enough")

    @handler
    async def big(self, size: int) -> bytes:
        return bytes(size)

    @handler(concurrent=100)
    async def state(self) -> tuple[int, int]:
        return self.parts, self.left

    @handler
    async def take(self, number: int) -> None:
        self.told.append(number)

    @handler
    async def told_numbers(self) -> list[int]:
        return self.told

    @handler
    async def heard_numbers(self) -> list[int]:
        return self.heard

    @handler
    async def calls_back(self, other: str) -> int:
        return int(await self.ref(other).ask("add", 1, within=5))

    @handler
    async def asks_who_asks_me(self, other: str) -> str:
        return str(await self.ref(other).ask("calls_back", self.name, within=5))

    @on("news.*")
    def read(self, item: dict[str, int]) -> None:
        self.heard.append(item["id"])


class Unruly(Agent):
    """Cannot be made under one number."""

    def __init__(self, fails: int) -> None:
        if self.name.endswith(f"/{fails}"):
            raise RuntimeError("not this one")


class Stubborn(Agent):
    """Ends itself when it is asked to."""

    @handler
    async def leave(self) -> None:
        self.stop()
