"""What a page costs the watched: asks and broadcasts among 512 agents, while one looks on and while nobody does."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks._page_cast import AGENTS, Seen
from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from three_mode import Orchestrator
from three_mode.agents import AgentGroup

ASK, CAST = "ask, the mean of many", f"broadcast to {AGENTS} agents until all have seen it, the mean of many"
ASK_CPU, CAST_CPU = "processor time of an ask, of all who are watched", "processor time of such a broadcast"
CASES = ((ASK, ASK_CPU), (CAST, CAST_CPU))
LOOKED_AT, SAMPLED, ALONE = "one page looks on", "one page looks at requests in time", "nobody looks"
VIEWS = {LOOKED_AT: "map flows", SAMPLED: "requests", ALONE: ""}
BLOCK, BLOCKS = 0.3, 3  # seconds of a sample, and samples in a row, of asks and then of broadcasts
BEGINS, SETTLES = 1.0, 3.4  # seconds until the hosts count, and until they count no more


class Page:
    """The process of a page that reads."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self._who = process, ALONE

    async def be(self, who: str) -> None:
        """Look at what this subject looks at; return once the system has taken notice, and left what was before."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{VIEWS[who]}\n".encode())
        await self._process.stdin.drain()
        before, self._who = self._who, who
        await asyncio.sleep(BEGINS if before in (ALONE, who) else SETTLES)


@asynccontextmanager
async def page(address: str) -> AsyncIterator[Page]:
    """A page in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-m", "benchmarks._page_cast", address)
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        if not await asyncio.wait_for(process.stdout.readline(), 30):
            raise RuntimeError("the page was not let in")
        yield Page(process)
    finally:
        process.kill()
        await process.wait()


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

    async def sample(self, some: Callable[[], Awaitable[int]]) -> tuple[float, float]:
        """Seconds of one, and processor time of one of all who are watched: this process and the hosts."""
        count, before, began = 0, self._ran(), time.perf_counter()
        while (now := time.perf_counter()) < began + BLOCK:
            count += await some()
        return (now - began) / count, (self._ran() - before) / count

    def _ran(self) -> float:
        """Seconds that the main threads of these processes have run."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self._processes) / 1e9


async def measure(context: Context) -> dict[tuple[str, str], list[float]]:
    """Seconds of an ask and of a broadcast, in blocks of each subject in turn."""
    found: dict[tuple[str, str], list[float]] = {(case, who): [] for cases in CASES for case in cases for who in VIEWS}
    async with Orchestrator(hosts=2) as orc:
        agents = await orc.spawn(Seen, AGENTS, name="seen")
        work = Work(orc, agents, [host.pid for host in (await orc.table(within=10.0)).hosts])
        async with page(await orc.page()) as looker:
            await work.sample(work.asks)
            await work.sample(work.casts)
            for turn in range(context.rounds(3, least=2)):
                for who in tuple(VIEWS) if turn % 2 else reversed(VIEWS):
                    context.progress(f"{who}, {turn}")
                    await looker.be(who)
                    for (wall, cpu), some in zip(CASES, (work.asks, work.casts), strict=True):
                        for _ in range(BLOCKS):
                            seconds, ran = await work.sample(some)
                            found[wall, who].append(seconds)
                            found[cpu, who].append(ran)
    return found


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    try:
        import websockets  # noqa: F401
        import wsproto  # noqa: F401
    except ImportError:
        yield Missing(case=ASK, subject=LOOKED_AT, how_to_get="pip install 'three-mode[serve]' websockets")
        return
    for (case, who), samples in asyncio.run(measure(context)).items():
        yield Row(case=case, subject=who, unit="us", samples=[1e6 * seconds for seconds in samples])


BENCHMARK = Benchmark(
    summary="a page that looks on: what it costs asks and broadcasts of the watched",
    run=run,
    targets=[
        Target(case=case, subject=who, peer=ALONE, at_most=1.05)
        for who in (LOOKED_AT, SAMPLED)
        for cases in CASES
        for case in cases
    ],
    notes=(
        "The page is served by the process that asks, which is the dearest place. It looks at the map with its flows, "
        "two tables a second; or at requests in time, whose turns hosts keep, of one request in so many that there are "
        "not too many. Its reader is a process of its own on the same cores, as a browser on this machine would "
        "be. While nobody looks, the endpoint is there and its page looks at nothing: hosts then run the same code as "
        "without a page (tests/integration/page/test_looking_on.py holds that)."
    ),
)
