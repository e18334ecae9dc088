"""Build a pipeline of roles: each piece of work goes to the agent of a role with the least to do."""

import asyncio
import time

from rich.console import Console

from three_mode import Agent, Orchestrator, handler

TEXT = "the quick brown fox jumps over the lazy dog and runs from the quick brown dog"


class Splitter(Agent):
    @handler
    async def split(self, text: str) -> dict[str, int]:
        counts = await asyncio.gather(*(self.any("counter").ask(Counter.count, word) for word in text.split()))
        return await self.any("merger").ask(Merger.merge, counts)


class Counter(Agent):
    @handler
    async def count(self, word: str) -> tuple[str, int]:
        await asyncio.sleep(0.01)  # as if it were work
        return word, 1


class Merger(Agent):
    @handler
    def merge(self, counts: list[tuple[str, int]]) -> dict[str, int]:
        total: dict[str, int] = {}
        for word, count in counts:
            total[word] = total.get(word, 0) + count
        return total


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        await orc.spawn(Counter, 16, name="counter")
        await orc.spawn(Merger, 2, name="merger")
        splitter = await orc.spawn(Splitter, name="splitter")
        started = time.perf_counter()
        found = await splitter.ask(Splitter.split, TEXT, within=5)
        spent = time.perf_counter() - started
        words = len(TEXT.split())
        console.print(f"{words} words of 10 ms each, over 16 counters, took {1e3 * spent:.0f} ms: {found}")


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
