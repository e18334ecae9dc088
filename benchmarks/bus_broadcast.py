"""One message to 512 handlers: from the call of publish until the last handler ran, in any process."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.bus_peers import publishers
from benchmarks.bus_peers.board import Board, Children
from benchmarks.bus_peers.publishers import Field, Unavailable
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

AGENTS = "512 handlers in 2 processes"
SHOWN = f"{AGENTS}, beside others"
SINGLY = "{}, one at a time"
Subjects = Mapping[str, Callable[[Field], publishers.Publisher]]


@dataclass(frozen=True)
class Pace:
    """Pace of broadcasts: a block of one subject, then a block of the next."""

    blocks: int  #: blocks of each subject
    block: int  #: broadcasts in a block
    nap: float  #: seconds that the publisher sleeps before it reads the page again


@dataclass(frozen=True)
class Case:
    """Case of a number of processes. Only its subjects run while it is measured."""

    name: str
    processes: int
    handlers: int  # in each process
    subjects: Subjects
    in_succession: Pace
    singly: Pace | None = None


US, PYZMQ = ("three-mode", publishers.bus), ("pyzmq", publishers.pyzmq)
CASES = (
    Case(
        AGENTS,
        2,
        256,
        dict([US, PYZMQ, ("redis", publishers.redis), ("nats", publishers.nats)]),
        in_succession=Pace(80, 20, 0.0002),
        singly=Pace(300, 1, 0.002),
    ),
    Case(
        SHOWN,
        2,
        256,
        dict([US, ("pipes", publishers.pipes), ("zenoh", publishers.zenoh), ("iceoryx2", publishers.iceoryx2)]),
        in_succession=Pace(40, 20, 0.0002),
    ),
    Case(
        "64 processes",
        64,
        1,
        dict([US, PYZMQ]),
        in_succession=Pace(40, 10, 0.001),
        singly=Pace(100, 1, 0.005),
    ),
    Case(
        "512 processes",
        512,
        1,
        dict([US, PYZMQ]),
        in_succession=Pace(12, 5, 0.01),
        singly=Pace(20, 1, 0.04),
    ),
)


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    for case in CASES:
        if context.quick and case.processes > 64:
            continue
        with _field(case) as field:
            ready: dict[str, publishers.Publisher] = {}
            for subject, make in case.subjects.items():
                context.progress(f"{case.name}: starting {subject}")
                try:
                    ready[subject] = make(field)
                except Unavailable as missing:
                    yield Missing(case=case.name, subject=subject, how_to_get=str(missing))
            yield from _rows(case.name, ready, case.in_succession, context)
            if case.singly is not None:
                yield from _rows(SINGLY.format(case.name), ready, case.singly, context)
            if case.name == SHOWN:
                yield from _one_after_another(field, context)


@contextmanager
def _field(case: Case) -> Iterator[Field]:
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        publishers.temporary_folder() as folder,
        Children() as children,
    ):
        yield Field(runner, children, Path(folder), case.processes, case.handlers)


def _rows(name: str, ready: Mapping[str, publishers.Publisher], pace: Pace, context: Context) -> Iterator[Row]:
    samples = {subject: _sample(*publisher, pace.nap) for subject, publisher in ready.items()}
    warm_up = 5 if pace.block == 1 else 1
    taken = alternate(samples, context.rounds(pace.blocks), warm_up=warm_up, block=pace.block)
    for subject, seconds in taken.items():
        yield Row(case=name, subject=subject, unit="us", samples=[1e6 * s for s in seconds])


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
        yield Missing(case=SHOWN, subject=subject, how_to_get=str(missing))
        return
    seconds = []
    for _ in range(context.rounds(5)):
        started = time.perf_counter()
        calls()
        seconds.append(time.perf_counter() - started)
    yield Row(
        case=SHOWN,
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
    notes=(
        "All readers decode once per process and call the same plain handlers. pyzmq, pipes, zenoh and iceoryx2 "
        "readers block in a plain loop, which is their best case; three-mode, redis and nats readers live in uvloop. "
        "How it is counted: the publisher clears a shared page, takes the time, publishes, and sleeps; each process "
        "writes into the page when its last handler ran; the newest of these times ends the broadcast. The main "
        "thread of each reader has one of the cores, for every subject. The publisher reads the page every 0.2 ms "
        "(64 processes: 1 ms, 512: 10 ms) and publishes the next once all have written, so broadcasts follow each "
        "other in blocks of 20 (10, 5) of one subject, then as many of the next, in an order that turns; every "
        "broadcast of a block counts, the first as well. Readers of three-mode that were woken at such a pace stay "
        "awake for up to 0.3 ms to see whether more comes (`BusOptions.linger`), on a core that nobody else needs: "
        "this is part of the lead over readers that sleep. 'One at a time' has the same processes and the same "
        "readers, one broadcast of each subject in turn, 2 ms (5, 40) apart: the cost when others used the "
        "processors and their caches meanwhile. It has no target: everybody is slower there, three-mode most, "
        "because its readers sleep by then, and its lead is smaller. 'Beside others' has separate processes for "
        "peers that no target names. They may be ahead of us, and pipes are where our readers sleep: one write for "
        "each process that blocks in a read, without an event loop, subscriptions, receipts or an envelope. The "
        "calls one after another are what an agent system without a bus does to reach 512 agents: their number over "
        "ours is the honest form of the factor that such systems claim."
    ),
)
