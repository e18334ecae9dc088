"""Calls of agents through the public API, beside the bus alone, Ray's actors and AutoGen core."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from benchmarks._agents_cast import ITEM, Eager, Finish, Plain, bare_bus, pids_beside
from benchmarks._agents_peers import HAS_AUTOGEN, HAS_RAY, autogen_runtime, ray_asker
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async, cores
from three_mode import Orchestrator

AGENTS = 512
BROADCASTS = 20  # in one sample
CALLS = 200  # in one sample: short samples in many turns, because a machine may change its speed within a second
FIRST_CALLS = 50  # at the start of each turn, not counted
ASK = "ask one agent in another process, and its answer"
CAST = f"broadcast to {AGENTS} in 2 processes, until all handlers have run"
GATHER = f"gather from {AGENTS} in 2 processes"
US, PLAIN, EAGER, BUS = (
    "three-mode",
    "three-mode, plain handlers",
    "three-mode, async handlers",
    "the bus alone",
)
RAY, ONE_PROCESS = "Ray", "AutoGen core (one process)"


def timed(work: Callable[[], Awaitable[Any]], calls: int, before: int = 0) -> Callable[[], Awaitable[float]]:
    """Sample of `calls` calls. `before` calls come first and are not counted: they warm the caches that others used."""

    async def sample() -> float:
        for _ in range(before):
            await work()
        started = time.perf_counter()
        for _ in range(calls):
            await work()
        return (time.perf_counter() - started) / calls

    return sample


def until_all_ran(publish: Callable[[], object], finish: Finish) -> Callable[[], Awaitable[float]]:
    """Sample of broadcasts: the publisher blocks until the last handler of the last process has run."""

    async def sample() -> float:
        started = time.perf_counter()
        for _ in range(BROADCASTS):
            publish()
            finish.wait(2)
        return (time.perf_counter() - started) / BROADCASTS

    return sample


async def measure(context: Context) -> list[Row]:
    """Measures all cases."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        on_bus = Finish(folder, "bus")
        bare = await stack.enter_async_context(bare_bus(2, AGENTS))
        on_plain = Finish(folder, "plain")
        first = await stack.enter_async_context(Orchestrator(hosts=2))
        on_eager = Finish(folder, "eager")
        second = await stack.enter_async_context(Orchestrator(hosts=2))
        plain = await first.spawn(Plain, AGENTS, name="plain")
        await second.spawn(Eager, AGENTS, name="eager")
        context.progress("asking")
        others = {bus: pids_beside(bus) for bus in (bare, first.bus, second.bus)}
        for pid in (*others[bare], *others[first.bus]):
            cores.seat(1, pid)
        async with AsyncExitStack() as peers:
            peers.enter_context(cores.this_thread_on(0))
            askers = {
                US: timed(lambda: plain[7].ask(Plain.echo, "hello"), CALLS, FIRST_CALLS),
                BUS: timed(lambda: bare.ask("echo-0", "hello"), CALLS, FIRST_CALLS),
            }
            if HAS_RAY:
                askers[RAY] = await peers.enter_async_context(ray_asker(CALLS, FIRST_CALLS))
            asks = await alternate_async(askers, context.rounds(36), warm_up=3)
        rows += [Row(case=ASK, subject=name, unit="us", samples=[1e6 * s for s in took]) for name, took in asks.items()]
        context.progress("broadcasting")
        for pids in others.values():
            cores.spread(pids)
        subjects = {
            PLAIN: until_all_ran(lambda: first.broadcast("news.eu", ITEM), on_plain),
            EAGER: until_all_ran(lambda: second.broadcast("news.eu", ITEM), on_eager),
            BUS: until_all_ran(lambda: bare.publish("news.eu", ITEM), on_bus),
        }
        runtime = None
        if HAS_AUTOGEN:
            runtime, publish = await autogen_runtime(AGENTS)
            subjects[ONE_PROCESS] = timed(publish, 1)
        casts = await alternate_async(subjects, context.rounds(80))
        if runtime is not None:
            await runtime.stop()
        rows += [
            Row(case=CAST, subject=name, unit="us", samples=[1e6 * s for s in took]) for name, took in casts.items()
        ]
        context.progress("gathering")
        gathers = await alternate_async({US: timed(lambda: plain.gather(Plain.echo, "hello"), 3)}, context.rounds(30))
        rows.append(Row(case=GATHER, subject=US, unit="ms", samples=[1e3 * s for s in gathers[US]]))
    return rows


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    yield from uvloop.run(_rows(context))
    if not HAS_RAY:
        yield Missing(case=ASK, subject=RAY, how_to_get="pip install ray")
    if not HAS_AUTOGEN:
        yield Missing(case=CAST, subject=ONE_PROCESS, how_to_get="pip install autogen-core")


async def _rows(context: Context) -> list[Row]:
    return await measure(context)


BENCHMARK = Benchmark(
    summary="asking, broadcasting and gathering through the public API",
    run=run,
    targets=[
        Target(case=ASK, subject=US, peer=BUS, at_most=2.0),
        Target(case=ASK, subject=US, peer=RAY, at_most=1 / 30),
        Target(case=CAST, subject=PLAIN, peer=BUS, at_most=1.3),
        Target(case=CAST, subject=EAGER, peer=BUS, at_most=4.0),
        Target(case=CAST, subject=PLAIN, peer=ONE_PROCESS, at_most=1 / 100),
        Target(case=CAST, subject=EAGER, peer=ONE_PROCESS, at_most=1 / 50),
        Target(case=GATHER, subject=US, at_most=5.0),
    ],
    notes=(
        "A broadcast is over when the last handler of the last process has run; its process then writes to a pipe, "
        "on which the publisher blocks. AutoGen core has one process and sends no bytes; its publisher waits until "
        f"all 512 handlers have run. Asks are counted in turns of {CALLS}, after {FIRST_CALLS} that are not counted, "
        "for each subject alike. The main thread of the caller is on one core, that of the answering process on "
        "another (Ray's other threads run on any core). A broadcast's two processes have a core each. Ray's actor is "
        "asked in turn with the others, by a separate process, and ends before the broadcasts, whose cores it would "
        "take."
    ),
)
