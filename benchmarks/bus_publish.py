"""Cost of publish: beyond the codec, from 1 to 512 agents in the same processes; and the CPU of 512 idle agents."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
import uvloop

from benchmarks.bus_peers import floor
from benchmarks.bus_peers.board import PAYLOAD, Board, Children
from benchmarks.bus_peers.publishers import Field, temporary_folder
from benchmarks.harness import FLOOR, Benchmark, Context, Missing, Row, Target, alternate

if TYPE_CHECKING:
    from transports.bus import Bus

CALLS = 2000
IDLE_SECONDS = 10.0
_encode = msgspec.msgpack.Encoder().encode


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    yield from _beyond_the_codec(context)
    yield from _growth(context)
    yield from _idle(context)


async def _publishing(name: str) -> "Bus":
    """Joins a bus, and publishes what makes the ring."""
    from transports.bus import Bus

    bus = await Bus.join(name)
    await bus.publish("news.eu", PAYLOAD)
    return bus


def _beyond_the_codec(context: Context) -> Iterator[Row]:
    """Measures publish without parked readers, which cost a publisher nothing."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, temporary_folder() as folder:
        bus = runner.run(_publishing(f"bench-{Path(folder).name}"))

        def codec() -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                _encode(PAYLOAD)
            return (time.perf_counter() - started) / CALLS

        def publish() -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                bus.publish("news.eu", PAYLOAD)
            return (time.perf_counter() - started) / CALLS

        samples = alternate({"codec": codec, "publish": publish}, context.rounds(100))
        beyond = [a - b for a, b in zip(samples["publish"], samples["codec"], strict=True)]
        yield Row(
            case="publish beyond the codec",
            subject="three-mode",
            unit="us",
            samples=[1e6 * s for s in beyond],
        )
        runner.run(bus.leave())


def _growth(context: Context) -> Iterator[Row | Missing]:
    """Measures publish with 1 and with 256 agents in each of two processes, all asleep before it."""
    from benchmarks.bus_peers import publishers

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as few_folder,
        temporary_folder() as many_folder,
        Children() as children,
    ):
        samples: dict[str, Callable[[], float]] = {}
        for subject, folder, handlers in (
            ("1 agent a process", few_folder, 1),
            ("256 agents a process", many_folder, 256),
        ):
            field = Field(runner, children, Path(folder), 2, handlers)
            samples[subject] = _call(*publishers.bus(field))
        try:
            bells = floor.wakes(children, 2)
            samples[FLOOR] = lambda: next(bells.rounds(1, nap=0.002)).rung
        except floor.NoCompiler as missing:
            yield Missing(case="publish", subject=FLOOR, how_to_get=str(missing))
        for subject, seconds in alternate(samples, context.rounds(500), warm_up=5).items():
            yield Row(case="publish", subject=subject, unit="us", samples=[1e6 * s for s in seconds])


def _call(board: Board, publish: Callable[[], object]) -> Callable[[], float]:
    def sample() -> float:
        board.clear()
        started = time.perf_counter()
        publish()
        seconds = time.perf_counter() - started
        board.last(20.0, 0.002)
        return seconds

    return sample


def _idle(context: Context) -> Iterator[Row]:
    from benchmarks.bus_peers import publishers

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as folder,
        Children() as children,
    ):
        field = Field(runner, children, Path(folder), 2, 256)
        publishers.bus(field)
        readers = [child for pid in children.pids for child in psutil.Process(pid).children()]
        time.sleep(0.5)
        before = [sum(reader.cpu_times()[:2]) for reader in readers]
        seconds = 2.0 if context.quick else IDLE_SECONDS
        time.sleep(seconds)
        used = sum(sum(reader.cpu_times()[:2]) for reader in readers) - sum(before)
        yield Row(case="512 idle agents", subject="three-mode", unit="% of a core", samples=[100 * used / seconds])


BENCHMARK = Benchmark(
    summary="publish beyond its codec; its growth with agents; CPU of 512 idle agents in 2 processes",
    run=run,
    targets=[
        Target(case="publish beyond the codec", subject="three-mode", at_most=1.0),
        Target(case="publish", subject="256 agents a process", peer="1 agent a process", at_most=1.1),
        Target(case="512 idle agents", subject="three-mode", at_most=0.5),
    ],
    notes=(
        "'The kernel alone' is what ringing takes a program in C (bus_peers/floor.c). CPU time is counted by the "
        "kernel in ticks of 10 ms: over 10 seconds, 0.1 % is the smallest step."
    ),
)
