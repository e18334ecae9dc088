"""Many processes that join one bus at the same moment: the time until all are in, and the registry's CPU."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator

import uvloop

from benchmarks.bus_peers.board import Board, Children
from benchmarks.bus_peers.joiners import JOINED, SUBSCRIBED, UP
from benchmarks.harness import Benchmark, Context, Row, Target
from transports.bus import Bus

COUNTS = (64, 128, 256, 512)
US = "three-mode"
JOINED_ALL, SUBSCRIBED_ALL, COST = "until all have joined", "until all have subscribed", "the registry's CPU for each"
CASE = "{count} processes at once: {what}"
_WITHIN = 120.0


def _until(board: Board, what: int, count: int) -> int:
    """Time at which the last of `count` processes reached the stage `what`."""
    deadline = time.monotonic() + _WITHIN
    while True:
        stamps = [board.read(what * count + number) for number in range(count)]
        if all(stamps):
            return max(stamps)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{stamps.count(0)} of {count} processes have not joined within {_WITHIN:g} s")
        time.sleep(0.02)


def _cpu_of_registry(bus: str) -> float:
    thread = next(thread for thread in threading.enumerate() if thread.name == f"bus-registry-{bus}")
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


async def _until_alone(bus: Bus) -> None:
    async with asyncio.timeout(_WITHIN):
        while len(bus.members()) > 1:  # noqa: ASYNC110 - nobody to set an event
            await asyncio.sleep(0.05)


async def joins(count: int, number: int) -> tuple[float, float, float]:
    """Seconds until all had joined, seconds until all had subscribed, and CPU seconds of the registry."""
    name = f"benchmark-joins-{os.getpid()}-{count}-{number}"
    board = Board(3 * count)
    read, write = os.pipe()
    async with await Bus.join(name) as bus:
        with Children() as children:
            children.start("benchmarks.bus_peers.joiners", [name, board.fd, read, count], [board.fd, read])
            os.close(read)
            await asyncio.to_thread(_until, board, UP, count)
            before, started = _cpu_of_registry(name), time.monotonic_ns()
            os.close(write)
            subscribed = await asyncio.to_thread(_until, board, SUBSCRIBED, count)
            joined = _until(board, JOINED, count)
            cost = _cpu_of_registry(name) - before
        await _until_alone(bus)  # so that the next round has the machine to itself
    return (joined - started) / 1e9, (subscribed - started) / 1e9, cost


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    for count in COUNTS:
        took = []
        for number in range(context.rounds(3)):
            context.progress(f"{count} processes join, round {number + 1}")
            took.append(uvloop.run(joins(count, number)))
        each = [1e3 * cost / count for _, _, cost in took]
        yield _row(count, JOINED_ALL, "s", [joined for joined, _, _ in took])
        yield _row(count, SUBSCRIBED_ALL, "s", [subscribed for _, subscribed, _ in took])
        yield _row(count, COST, "ms", each)


def _row(count: int, what: str, unit: str, samples: list[float]) -> Row:
    return Row(
        case=CASE.format(count=count, what=what),
        subject=US,
        unit=unit,
        samples=samples,
        curve=what,
        at=count,
    )


BENCHMARK = Benchmark(
    summary="many processes join one bus at the same moment",
    run=run,
    targets=[
        Target(case=CASE.format(count=512, what=JOINED_ALL), subject=US, at_most=5.0),
        Target(case=CASE.format(count=512, what=COST), subject=US, at_most=2.0),
    ],
    notes=(
        "The processes are up and wait at a gate that opens once: this measures joining, not starting Python. Until "
        "all have joined may take as long as a member waits by default (`BusOptions.join_within`), on any number of "
        "cores. The registry's CPU is that of its thread, from the opening of the gate until the last has subscribed."
    ),
)
