"""Starting agents: the time until they answer, the memory of one more, and the growth to 10,000."""

import gc
import time
from collections.abc import Iterator

import uvloop

from benchmarks._agents_cast import ITEM, Plain
from benchmarks._agents_peers import HAS_RAY, ray_runtime, spawn_ray
from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from three_mode import Orchestrator

FEW, MANY = 512, 10_000
SPAWN = f"{FEW} agents in 2 new processes, until all have answered"
EACH = "one agent, of so many started together"
MEMORY = "memory of one more agent"
GROWTH = "{count} agents: {what}"
COUNTS = (100, 300, 1000, 3000, 10_000)
US = "three-mode"


async def spawned(count: int) -> float:
    """Seconds until `count` agents in new processes have answered."""
    started = time.perf_counter()
    async with Orchestrator(hosts=2) as orc:
        agents = await orc.spawn(Plain, count, name="plain")
        votes = await agents.gather(Plain.echo, "hello", within=30)
        assert votes.complete
        return time.perf_counter() - started


async def memory(few: int, many: int) -> float:
    """Bytes of one more agent in its host."""
    async with Orchestrator(hosts=1) as orc:
        first = await orc.spawn(Plain, few, name="first")
        await first.gather(Plain.echo, "hello")
        before = (await orc.table()).hosts[0].memory
        more = await orc.spawn(Plain, many, name="more")
        await more.gather(Plain.echo, "hello", within=30)
        return ((await orc.table()).hosts[0].memory - before) / many


async def growth(count: int, rounds: int) -> list[Row]:
    """Times of spawn, broadcast and gather with `count` agents."""
    rows = []
    async with Orchestrator(hosts=2) as orc:
        started = time.perf_counter()
        agents = await orc.spawn(Plain, count, name="plain", within=60)
        rows.append(_row(count, "spawned and known", [time.perf_counter() - started]))
        casts, gathers = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            seen = await orc.broadcast("news.eu", ITEM).settled(10.0)
            casts.append(time.perf_counter() - started)
            assert seen.seen == count, seen
            started = time.perf_counter()
            votes = await agents.gather(Plain.echo, "hello", within=30)
            gathers.append(time.perf_counter() - started)
            assert votes.complete
        rows += [_row(count, "broadcast, and the receipt", casts), _row(count, "gather", gathers)]
    return rows


def _row(count: int, what: str, seconds: list[float]) -> Row:
    return Row(
        case=GROWTH.format(count=f"{count:,}", what=what),
        subject=US,
        unit="ms",
        samples=[1e3 * one for one in seconds],
        curve=what,
        at=count,
    )


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    took = []
    for number in range(context.rounds(10)):
        context.progress(f"starting {FEW} agents, round {number + 1}")
        gc.collect()
        took.append(uvloop.run(spawned(FEW)))
    yield Row(case=SPAWN, subject=US, unit="s", samples=took)
    yield Row(case=EACH, subject=US, unit="ms", samples=[1e3 * one / FEW for one in took], note=f"of {FEW}")
    context.progress("weighing agents")
    yield Row(case=MEMORY, subject=US, unit="KiB", samples=[uvloop.run(memory(1000, 8000)) / 1024])
    for count in COUNTS:
        context.progress(f"growing to {count:,} agents")
        yield from uvloop.run(growth(count, context.rounds(10)))
    if not HAS_RAY:
        yield Missing(case=EACH, subject="Ray", how_to_get="pip install ray")
        return
    context.progress("starting Ray actors")
    with ray_runtime() as ray:
        spawn_ray(ray, 1)  # its first worker processes take longer
        each = [1e3 * spawn_ray(ray, 8)[0] / 8 for _ in range(context.rounds(5, least=2))]
    yield Row(case=EACH, subject="Ray", unit="ms", samples=each, note="of 8, its runtime running already")


BENCHMARK = Benchmark(
    summary="starting agents, their memory, and the growth to 10,000",
    run=run,
    targets=[
        Target(case=SPAWN, subject=US, at_most=1.0),
        Target(case=EACH, subject=US, peer="Ray", at_most=1 / 50),
        Target(case=MEMORY, subject=US, at_most=8.0),
    ],
    notes=(
        "Our spawn includes starting the processes; Ray's runtime and its first worker run already. "
        "An agent of Ray is a process."
    ),
)
