"""Stream a reply from an async generator, and leave early: that stops the generator in the agent."""

import asyncio
from collections.abc import AsyncIterator

from rich.console import Console

from three_mode import Agent, Orchestrator, handler


class Teller(Agent):
    def __init__(self) -> None:
        self.yielded = 0

    @handler
    async def tale(self) -> AsyncIterator[str]:
        words = ["once", "upon", "a", "time", "there", "was", "a", "process"]
        try:
            while True:
                for word in words:
                    self.yielded += 1
                    yield word
                    await asyncio.sleep(0.02)
        finally:
            self.yielded = -self.yielded  # reached because the reader left

    @handler
    def count(self) -> int:
        return self.yielded


async def run(console: Console) -> None:
    async with Orchestrator(hosts=1) as orc:
        teller = await orc.spawn(Teller, name="teller")
        async with teller.stream(Teller.tale, within=10) as words:
            received = 0
            async for word in words:
                console.print(word, end=" ")
                received += 1
                if received == 20:
                    break
        yielded = await teller.ask(Teller.count)
        console.print(
            f"\nreceived {received} words; the teller noticed that we left after {abs(yielded)}: {yielded < 0}"
        )


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
