"""Broadcast one message to 512 agents in two processes, and ask its receipt who has seen it."""

import asyncio
import time
from typing import Any

from rich.console import Console

from three_mode import Agent, Orchestrator, on


class Reader(Agent):
    def __init__(self) -> None:
        self.seen = 0

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        await orc.spawn(Reader, 512, name="reader")
        for number in range(5):
            started = time.perf_counter()
            receipt = orc.broadcast("news.eu", {"id": number})
            published = time.perf_counter() - started
            seen = await receipt.settled(within=1.0)
            settled = time.perf_counter() - started
            console.print(
                f"published in {1e6 * published:4.0f} us, and after {1e6 * settled:4.0f} us we know: "
                f"{seen.seen} seen, {seen.lagging} lagging, {seen.lost} lost, {seen.dead} dead"
            )


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
