"""One message to 512 handlers: from the call of publish until the last handler ran, in whatever process."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import uvloop

from benchmarks.bus_peers import publishers
from benchmarks.bus_peers.board import Board, Children
from benchmarks.bus_peers.publishers import Field, Unavailable
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

AGENTS = "512 handlers in 2 processes"
CASES: list[tuple[str, int, int, int, float, Mapping[str, Callable[[Field], publishers.Publisher]]]] = [
    # case, processes, handlers each, rounds, pause between looks, who
    (
        AGENTS, 2, 256, 500, 0.002,
        {
            "three-mode": publishers.bus,
            "pyzmq": publishers.pyzmq,
            "redis": publishers.redis,
            "nats": publishers.nats,
            "pipes": publishers.pipes,
            "zenoh": publishers.zenoh,
            "iceoryx2": publishers.iceoryx2,
        },
    ),
    ("64 processes", 64, 1, 200, 0.005, {"three-mode": publishers.bus, "pyzmq": publishers.pyzmq}),
    ("512 processes", 512, 1, 60, 0.04, {"three-mode": publishers.bus, "pyzmq": publishers.pyzmq}),
]  # fmt: skip


def run(context: Context) -> Iterator[Row | Missing]:
    for case, processes, handlers, rounds, nap, subjects in CASES:
        if context.quick and processes > 64:
            continue
        with (
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            publishers.temporary_folder() as folder,
            Children() as children,
        ):
            field = Field(runner, children, Path(folder), processes, handlers)
            samples: dict[str, Callable[[], float]] = {}
            for subject, make in subjects.items():
                context.progress(f"{case}: starting {subject}")
                try:
                    samples[subject] = _sample(*make(field), nap)
                except Unavailable as missing:
                    yield Missing(case=case, subject=subject, how_to_get=str(missing))
            for subject, seconds in alternate(samples, context.rounds(rounds), warm_up=5).items():
                yield Row(case=case, subject=subject, unit="us", samples=[1e6 * s for s in seconds])
            if case == AGENTS:
                yield from _one_after_another(field, context)


def _sample(board: Board, publish: Callable[[], object], nap: float) -> Callable[[], float]:
    def sample() -> float:
        board.clear()
        started = time.monotonic_ns()
        publish()
        return (board.last(20.0, nap) - started) / 1e9

    return sample


def _one_after_another(field: Field, context: Context) -> Iterator[Row | Missing]:
    subject = "512 HTTP/2 calls, one after another"
    try:
        calls = publishers.http2_calls(field, 512)
    except Unavailable as missing:
        yield Missing(case=AGENTS, subject=subject, how_to_get=str(missing))
        return
    seconds = []
    for _ in range(context.rounds(5)):
        started = time.perf_counter()
        calls()
        seconds.append(time.perf_counter() - started)
    yield Row(
        case=AGENTS,
        subject=subject,
        unit="us",
        samples=[1e6 * s for s in seconds],
        note="one warm connection",
    )


BENCHMARK = Benchmark(
    summary="broadcast of a 100-byte dict until the last Python handler ran, codec included",
    run=run,
    targets=[
        Target(case=AGENTS, subject="three-mode", peer="pyzmq", at_most=0.6),
        Target(case=AGENTS, subject="three-mode", peer="redis", at_most=0.25),
        Target(case=AGENTS, subject="three-mode", peer="nats", at_most=0.25),
        Target(case="64 processes", subject="three-mode", peer="pyzmq", at_most=0.35),
        Target(case="512 processes", subject="three-mode", peer="pyzmq", at_most=0.5),
    ],
    notes="All readers decode once per process and call the same plain handlers. pyzmq, pipes, zenoh and iceoryx2 readers block in"
    " a plain loop, which is their best case; three-mode, redis and nats readers live in uvloop. The publisher sleeps meanwhile."
    " The calls one after another are what an agent system without a bus does to reach 512 agents: their number over ours is the"
    " honest form of the factor that such systems claim.",
)
