"""What a page costs the watched: asks and broadcasts among 512 agents, while one looks on and while nobody does."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks._page_cast import AGENTS
from benchmarks.harness import Benchmark, Context, Missing, Row, Target

ASK, CAST = "ask, the mean of many", f"broadcast to {AGENTS} agents until all have seen it, the mean of many"
ASK_CPU, CAST_CPU = "processor time of an ask, of all who are watched", "processor time of such a broadcast"
WORKS = {"asks": (ASK, ASK_CPU), "casts": (CAST, CAST_CPU)}
LOOKED_AT, ALONE = "one page looks on", "nobody looks"
VIEWS = {"map and flows": "map flows", "requests in time": "requests"}
BLOCK, PAIRS = 0.12, 12  # seconds of a sample, and samples of each system while the page looks at one of them
BEGINS, SETTLES = 1.5, 3.4  # seconds until the hosts count, and until they count no more


class Program:
    """A process of the cast, which takes lines and answers with lines."""

    def __init__(self, process: asyncio.subprocess.Process, said: str) -> None:
        self._process, self.said = process, said

    async def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def ask(self, line: str) -> str:
        """Write a line, and return the next one that it prints."""
        assert self._process.stdout is not None
        await self.tell(line)
        return (await asyncio.wait_for(self._process.stdout.readline(), 30)).decode()


@asynccontextmanager
async def program(*words: str) -> AsyncIterator[Program]:
    """A process of the cast, once it has printed its first line."""
    pipe = asyncio.subprocess.PIPE
    module = ("-m", "benchmarks._page_cast")
    process = await asyncio.create_subprocess_exec(sys.executable, *module, *words, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        if not said:
            raise RuntimeError(f"`{' '.join(words)}` of the cast ended before it was ready")
        yield Program(process, said)
    finally:
        process.stdin.close()  # a system ends its hosts
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def case_of(what: str, view: str) -> str:
    """The case of a row."""
    return f"{what}; {view}"


async def measure(context: Context) -> dict[tuple[str, str], list[float]]:
    """Seconds of an ask and of a broadcast, in short blocks of two systems in turn; the page looks at one of them, and
    then at the other one."""
    found: dict[tuple[str, str], list[float]] = {}
    async with AsyncExitStack() as stack:
        systems = [await stack.enter_async_context(program("system")) for _ in range(2)]
        pages = [await stack.enter_async_context(program("page", system.said)) for system in systems]
        for system in systems:
            for work in WORKS:
                await system.ask(f"{work} {BLOCK}")
        for view, looks_at in VIEWS.items():
            for turn in range(2):
                context.progress(f"{view}, {turn + 1} of 2")
                await pages[1 - turn].tell("")
                await pages[turn].tell(looks_at)
                for settling in (SETTLES - BEGINS, BEGINS):
                    await asyncio.sleep(settling)
                    await systems[turn].ask(f"asks {BLOCK}")  # so that the page knows how many requests there are
                for work, (wall, cpu) in WORKS.items():
                    for pair in range(context.rounds(PAIRS, least=2)):
                        for at in (0, 1) if pair % 2 else (1, 0):
                            seconds, ran = json.loads(await systems[at].ask(f"{work} {BLOCK}"))
                            who = LOOKED_AT if at == turn else ALONE
                            found.setdefault((case_of(wall, view), who), []).append(seconds)
                            found.setdefault((case_of(cpu, view), who), []).append(ran)
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
        Target(case=case_of(what, view), subject=LOOKED_AT, peer=ALONE, at_most=1.05)
        for view in VIEWS
        for works in WORKS.values()
        for what in works
    ],
    notes=(
        "Two systems of two hosts each work in short turns, and a page looks at one of them, then at the other one. "
        "The page is served by the process that asks, which is the dearest place. It looks at the map with its flows, "
        "two tables a second; or at requests in time, whose turns hosts keep, of one request in so many that there are "
        "not too many. Its reader is a process of its own on the same cores, as a browser on this machine would "
        "be. While nobody looks, the endpoint is there and its page looks at nothing: hosts then run the same code as "
        "without a page (tests/integration/page/test_looking_on.py holds that)."
    ),
)
