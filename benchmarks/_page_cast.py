"""Two programs of the benchmark of pages: a system of agents, and a page that only reads.

python -m benchmarks._page_cast system
python -m benchmarks._page_cast page ADDRESS
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from three_mode import Agent, Orchestrator, handler, on
from three_mode.agents import AgentGroup

AGENTS = 512


class Seen(Agent):
    """Answers, and listens."""

    def __init__(self) -> None:
        self.seen = 0

    @handler
    async def echo(self, text: str) -> str:
        return text

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1


class Work:
    """Asks and broadcasts, one after the other, and what they take."""

    def __init__(self, orc: Orchestrator, agents: AgentGroup, hosts: list[int]) -> None:
        self._orc, self._agents, self._count = orc, agents, 0
        self._processes = [os.getpid(), *hosts]

    async def asks(self) -> int:
        """Make some asks; return how many."""
        for _ in range(50):
            self._count += 7
            await self._agents[self._count % AGENTS].ask(Seen.echo, "hello", within=10.0)
        return 50

    async def casts(self) -> int:
        """Make a broadcast, and wait until all have seen it."""
        self._count += 1
        receipt = await self._orc.broadcast("news.eu", {"id": self._count})
        await receipt.settled(within=10.0)
        return 1

    async def sample(self, some: Callable[[], Awaitable[int]], seconds: float) -> tuple[float, float]:
        """Seconds of one, and processor time of one of all who are watched: this process and the hosts."""
        count, before, began = 0, self._ran(), time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            count += await some()
        return (now - began) / count, (self._ran() - before) / count

    def _ran(self) -> float:
        """Seconds that the main threads of these processes have run."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self._processes) / 1e9


async def be_system() -> None:
    """Print the address of a page; then each line of standard input says what to make, and for how many seconds."""
    async with Orchestrator(hosts=2) as orc:
        agents = await orc.spawn(Seen, AGENTS, name="seen")
        work = Work(orc, agents, [host.pid for host in (await orc.table(within=10.0)).hosts])
        kinds = {"asks": work.asks, "casts": work.casts}
        print(await orc.page(), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            kind, seconds = line.split()
            print(json.dumps(await work.sample(kinds[kind], float(seconds))), flush=True)


async def be_page(address: str) -> None:
    """Read; each line of standard input has the views that it looks at from then on, with blanks between."""
    import httpx
    from websockets.asyncio.client import connect

    origin, key = address.split("/#key=")
    given = httpx.post(f"{origin}/page/session", json={"key": key}, headers={"origin": origin})  # noqa: ASYNC210
    given.raise_for_status()
    headers = {"cookie": given.headers["set-cookie"].partition(";")[0]}
    url = origin.replace("http", "ws") + "/page/live"
    async with connect(url, additional_headers=headers, origin=origin, max_size=None) as socket:  # type: ignore[arg-type]

        async def take() -> None:
            async for _ in socket:
                pass

        taking = asyncio.create_task(take())
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(json.dumps({"kind": "look", "at": line.split()}))
        taking.cancel()


if __name__ == "__main__":
    asyncio.run(be_system() if sys.argv[1] == "system" else be_page(sys.argv[2]))
