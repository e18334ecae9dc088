"""Agents that are recorded and replayed."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from three_mode import Agent, Chunk, LLMRequest, LLMResponse, Usage, fold, handler, on
from three_mode.errors import NoSuchAgent
from three_mode.messages import Finish, TextDelta, UsageUpdate

PRICE = 2  # a test changes it to make a replay diverge


class Market(Agent):
    def __init__(self, start: float = 10.0) -> None:
        self.price, self.log = start, [self.random.random()]

    @handler
    async def quote(self, item: str) -> float:
        await asyncio.sleep(0.01)
        self.price += self.random.random()
        return self.price * len(item)

    @handler
    async def ticks(self, count: int) -> AsyncIterator[float]:
        for _ in range(count):
            yield self.random.random()


class ChanceModel:
    """Model with unpredictable answers."""

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return fold([TextDelta(secrets.token_hex(8)), UsageUpdate(Usage(3, 5)), Finish()])

    async def stream(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        for _ in range(3):
            yield TextDelta(secrets.token_hex(4))
        yield Finish()


class Thinker(Agent):
    """Asks a model."""

    def __init__(self) -> None:
        self._three_mode_actor.owner.session._llm = ChanceModel()  # stands for a provider that a test cannot reach

    @handler
    async def think(self, question: str) -> list[str]:
        request = LLMRequest(model="chance", messages=[{"role": "user", "content": question}])
        whole = await self.llm.chat_completion(request)
        return [whole.content, *[chunk.text async for chunk in self.llm.stream(request)]]


class Trader(Agent):
    """Uses time, randomness and every kind of call."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.heard = 0

    async def started(self) -> None:
        self.notes.append(self.now())

    @handler
    async def trade(self, item: str) -> float:
        begun = self.now()
        price = await self.ref("market/0").ask(Market.quote, item)
        quotes = await self.group("market").gather(Market.quote, item, within=5)
        ticks = [tick async for tick in self.ref("market/1").stream(Market.ticks, 3)]
        await asyncio.sleep(0.02)
        paid = PRICE * (price + sum(quotes) + sum(ticks)) * self.random.random()
        self.ref("trader/1").tell(Trader.note, [item, paid])
        seen = await self.broadcast("deals.done", {"item": item, "paid": paid}).settled(0.05)
        return round(paid + seen.seen + (self.now() - begun), 6)

    @handler(concurrent=4)
    async def beside(self, item: str) -> list[Any]:
        self.notes.append(f"begin {item}")
        price = await self.any("market").ask(Market.quote, item)
        self.notes.append(price)
        return list(self.notes)

    @handler
    async def refused(self) -> str:
        try:
            await self.ref("nobody/0").ask("x")
        except NoSuchAgent as error:
            return type(error).__name__
        return "nothing"

    @handler
    def note(self, what: list[Any]) -> None:
        self.notes.append(what)

    @on("deals.*")
    def hear(self, deal: dict[str, Any]) -> None:
        self.heard += 1

    @handler
    def total(self) -> tuple[int, int]:
        return self.heard, len(self.notes)


class Busy(Agent):
    """Has several calls in progress at once, and is stopped during them."""

    @handler
    async def echo(self, text: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return text

    @handler
    async def both(self) -> list[str]:
        other = self.ref("busy/1")
        return list(
            await asyncio.gather(other.ask(Busy.echo_beside, "slow", 0.1), other.ask(Busy.echo_beside, "fast", 0.0))
        )

    @handler(concurrent=8)
    async def echo_beside(self, text: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return text

    @handler
    async def impatient(self) -> str:
        try:
            async with asyncio.timeout(0.1):
                return await self.ref("busy/1").ask(Busy.echo_beside, "late", 60.0)
        except TimeoutError:
            return "too late"

    @handler
    async def asks(self, seconds: float) -> str:
        try:
            return await self.ref("busy/1").ask(Busy.echo_beside, "late", seconds)
        finally:
            self.ref("busy/2").tell(Busy.note, "left")

    @handler
    async def sleeps(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return self.now()

    @handler
    async def numbers(self) -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    @handler
    async def first(self, count: int) -> list[int]:
        found: list[int] = []
        async for number in self.ref("busy/1").stream(Busy.numbers):
            found.append(number)
            if len(found) == count:
                break
        return found

    @handler
    async def merged(self) -> int:
        async def read() -> list[str]:
            return [part async for part in self.ref("busy/1").stream(Busy.words)]

        return sum(map(len, await asyncio.gather(read(), read())))

    @handler(concurrent=2)
    async def words(self) -> AsyncIterator[str]:
        for word in ("a", "b", "c"):
            await asyncio.sleep(0.01)
            yield word

    @handler
    def note(self, text: str) -> None:
        self.noted = text
