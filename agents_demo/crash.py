"""Kill a host process while agents work: callers get a named error at once, and the agents come back."""

import asyncio
import os
import signal
import time
from collections import Counter

from rich.console import Console

from three_mode import Agent, Orchestrator, ThreeModeError, handler
from three_mode.agents import HostBack


class Worker(Agent):
    @handler
    async def work(self, number: int) -> int:
        await asyncio.sleep(0.002)
        return number * number

    @handler
    def pid(self) -> int:
        return os.getpid()


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        workers = await orc.spawn(Worker, 64, name="worker")
        ends: Counter[str] = Counter()
        stopping = False

        async def ask(number: int) -> None:
            while not stopping:
                try:
                    await workers[number].ask(Worker.work, number, within=5)
                    ends["answers"] += 1
                except ThreeModeError as error:
                    ends[type(error).__name__] += 1
                    await asyncio.sleep(0.01)

        load = [asyncio.create_task(ask(number)) for number in range(64)]
        await asyncio.sleep(0.5)
        back = asyncio.Event()
        orc.on_event(lambda event: back.set() if isinstance(event, HostBack) else None)
        pid = await workers[7].ask(Worker.pid)
        console.print(f"kill -9 {pid}, where 32 of 64 agents live, under load")
        os.kill(pid, signal.SIGKILL)
        started = time.perf_counter()
        await back.wait()
        votes = await workers.gather(Worker.work, 3, within=5)
        console.print(f"{len(votes)} answer again after {1e3 * (time.perf_counter() - started):.0f} ms")
        stopping = True
        await asyncio.gather(*load)
        console.print("how the calls of 64 callers ended, before, during and after; none hangs:")
        for end, count in ends.items():
            console.print(f"  {count:6} {end}", highlight=False)
        console.print("what the orchestrator says about it:")
        for event in orc.events:
            console.print(f"  {event}", highlight=False)


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
