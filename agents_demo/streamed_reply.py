"""An async generator is a streamed reply. Leaving the stream stops the agent that makes it."""

import asyncio
from collections.abc import AsyncIterator

from rich.console import Console

from three_mode import Agent, Orchestrator, handler


class Teller(Agent):
    def __init__(self) -> None:
        self.told = 0

    @handler
    async def tale(self) -> AsyncIterator[str]:
        words = ["once", "upon", "a", "time", "there", "was", "a", "process"]
        try:
            while True:
                for word in words:
                    self.told += 1
                    yield word
                    await asyncio.sleep(0.02)
        finally:
            self.told = -self.told  # reached because the listener left

    @handler
    def count(self) -> int:
        return self.told


async def run(console: Console) -> None:
    async with Orchestrator(hosts=1) as orc:
        teller = await orc.spawn(Teller, name="teller")
        async with teller.stream(Teller.tale, within=10) as words:
            heard = 0
            async for word in words:
                console.print(word, end=" ")
                heard += 1
                if heard == 20:
                    break
        told = await teller.ask(Teller.count)
        console.print(f"\nheard {heard} words; the teller noticed that we left after {abs(told)}: {told < 0}")


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
