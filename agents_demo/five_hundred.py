"""Measure 512 agents in two processes: start, broadcast, answers, and recovery from a crash, on this machine, now."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from three_mode import Agent, Orchestrator, handler, on

AGENTS = 512


class Scout(Agent):
    def __init__(self, bias: float = 0.0) -> None:
        self.bias, self.seen = bias, 0

    @handler
    async def score(self, text: str) -> float:
        return len(text) + self.bias

    @handler
    def pid(self) -> int:
        return os.getpid()

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1


async def timed(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the median time of so many runs, in milliseconds."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        spent.append(time.perf_counter() - started)
    return 1e3 * median(spent)


async def run(console: Console) -> None:
    figures = Table(box=None, header_style="dim", pad_edge=False)
    figures.add_column("what")
    figures.add_column("here, now", justify="right")
    started = time.perf_counter()
    with console.status("starting two processes"):
        async with Orchestrator(hosts=2) as orc:
            scouts = await orc.spawn(Scout, AGENTS, name="scout", bias=0.1)
            votes = await scouts.gather(Scout.score, "hello", within=5.0)
            figures.add_row(
                f"{AGENTS} agents spawned in 2 processes, all have answered",
                f"{time.perf_counter() - started:.2f} s",
            )

            console.print(f"carrier: {orc.bus.carrier}; {len(votes)} agents answered")
            ask = await timed(lambda: scouts[7].ask(Scout.score, "hello"), 500)
            figures.add_row("ask one agent in another process", f"{1e3 * ask:.0f} us")
            gather = await timed(lambda: scouts.gather(Scout.score, "hello", within=5.0), 20)
            figures.add_row(f"gather from all {AGENTS}", f"{gather:.1f} ms")
            publish = await timed(lambda: asyncio.sleep(0, orc.broadcast("news.eu", {"id": 1})), 200)
            figures.add_row("broadcast: until the publisher goes on", f"{1e3 * publish:.0f} us")
            settle = await timed(lambda: orc.broadcast("news.eu", {"id": 1}).settled(1.0), 100)
            figures.add_row(f"broadcast: until we know that all {AGENTS} saw it", f"{1e3 * settle:.0f} us")

            console.print("now one of the two processes is killed")
            os.kill(await scouts[0].ask(Scout.pid), signal.SIGKILL)
            killed = time.perf_counter()
            while True:
                votes = await scouts.gather(Scout.score, "hello", within=5.0)
                if votes.complete:
                    break
                await asyncio.sleep(0.005)
            figures.add_row(
                "kill -9 of one process, until all answer again",
                f"{1e3 * (time.perf_counter() - killed):.0f} ms",
            )
    console.print(figures)


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
