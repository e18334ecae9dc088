"""What agents keep: 1 KiB by one agent, by 512 at once, and back again; beside SQLite with a transaction each."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Row, Target
from three_mode import Agent, Orchestrator, handler
from three_mode.agents import OrchestratorOptions

AGENTS = 512
STATE = bytes(range(256)) * 4
ONE = "keep 1 KiB, one after the other"
ALL = f"keep 1 KiB by {AGENTS} agents at once"
BACK = f"spawn {AGENTS} agents and give each its 1 KiB"
OURS, NOTHING, PLAIN = "three-mode", "the same without keeping", "sqlite3, a transaction each"


class Keeping(Agent):
    """Keeps the same state again and again."""

    def restored(self, state: bytes) -> None:
        self.state = state

    @handler
    async def keep_often(self, times: int) -> list[float]:
        """Keep so often; return the seconds of each."""
        took = []
        for _ in range(times):
            began = time.perf_counter()
            await self.keep(STATE)
            took.append(time.perf_counter() - began)
        return took

    @handler
    async def keep_once(self) -> None:
        await self.keep(STATE)

    @handler
    async def keep_nothing(self) -> None:
        await asyncio.sleep(0)


class Forgetful(Agent):
    """Keeps nothing."""


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        yield from asyncio.run(_keep(Path(folder), context))


async def _keep(folder: Path, context: Context) -> list[Row]:
    path, plain = folder / "state.sqlite", PlainRows(folder / "plain.sqlite")
    options = OrchestratorOptions(keep=str(path))
    times = context.rounds(300, least=50)
    one: dict[str, list[float]] = {OURS: [], PLAIN: []}
    many: dict[str, list[float]] = {OURS: [], NOTHING: [], PLAIN: []}
    async with Orchestrator(hosts=0, options=options) as orc:
        agents = await orc.spawn(Keeping, AGENTS, name="keeping")
        context.progress(ONE)
        for _ in range(3):
            one[OURS] += await agents[0].ask(Keeping.keep_often, times, within=60)
            one[PLAIN] += [plain.write(1) for _ in range(times)]
        context.progress(ALL)
        for _ in range(context.rounds(30, least=5)):
            for subject, kept in ((OURS, Keeping.keep_once), (NOTHING, Keeping.keep_nothing)):
                began = time.perf_counter()
                done = await agents.gather(kept, within=60)
                many[subject].append(time.perf_counter() - began)
                assert len(done.values) == AGENTS
            many[PLAIN].append(plain.write(AGENTS))
    context.progress(BACK)
    back: dict[str, list[float]] = {OURS: [], NOTHING: [], PLAIN: []}
    for _ in range(context.rounds(10, least=3)):
        async with Orchestrator(hosts=0, options=options) as orc:
            for subject, kind in ((OURS, Keeping), (NOTHING, Forgetful)):
                began = time.perf_counter()
                await orc.spawn(kind, AGENTS, within=60)
                back[subject].append(time.perf_counter() - began)
        back[PLAIN].append(plain.read(AGENTS))
    plain.close()
    rows = [Row(case=ONE, subject=name, unit="us", samples=[1e6 * s for s in took]) for name, took in one.items()]
    for case, found in ((ALL, many), (BACK, back)):
        rows += [
            Row(case=case, subject=name, unit="ms", samples=[1e3 * s for s in took]) for name, took in found.items()
        ]
    return rows


class PlainRows:
    """The same rows as a program would write them: one transaction each, in the same modes of the journal."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.execute("CREATE TABLE kept (agent TEXT PRIMARY KEY, state BLOB) WITHOUT ROWID")

    def write(self, count: int) -> float:
        """Write so many states; return the seconds."""
        began = time.perf_counter()
        for number in range(count):
            self._file.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (f"keeping/{number}", STATE))
        return time.perf_counter() - began

    def read(self, count: int) -> float:
        """Read so many states; return the seconds."""
        began = time.perf_counter()
        for number in range(count):
            self._file.execute("SELECT state FROM kept WHERE agent = ?", (f"keeping/{number}",)).fetchone()
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the file."""
        self._file.close()


BENCHMARK = Benchmark(
    summary="states that agents keep: one, 512 at once, and back, beside plain sqlite3",
    run=run,
    targets=[
        Target(case=ONE, subject=OURS, peer=PLAIN, at_most=8.0),
        Target(case=ALL, subject=OURS, peer=PLAIN, at_most=2.0),
    ],
    notes=(
        "The agents live in the process that asks them, and keep into a file (WAL, synchronous=NORMAL); ours goes over "
        "the thread of the file and back, and checks that the state can be restored. What 512 keep at once includes "
        "asking 512 agents; the same asks without keeping are beside it. Plain sqlite3 writes in the same process, on "
        "the thread that waits, without incarnations or checks, and reads rows without making agents."
    ),
)
