"""One message to 512 handlers: from the call of publish until the first and the last handler ran, in any process."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.bus_peers import floor, publishers
from benchmarks.bus_peers.board import Children
from benchmarks.bus_peers.publishers import Field, Unavailable
from benchmarks.harness import FLOOR, Benchmark, Context, Missing, Row, Target, alternate

AGENTS = "512 handlers in 2 processes"
SHOWN = f"{AGENTS}, beside others"
FIRST = "{}, until the first"
MANY, MOST = "64 processes", "512 processes"
EACH = f"{FLOOR}, an eventfd each"
SHARD = 64  # processes to an eventfd, as on the bus
ALONE_3, ALONE_10 = "{}, 3 ms apart", "{}, 10 ms apart"
Subject = publishers.Publisher | floor.Floor
Subjects = Mapping[str, Callable[[Field], Subject]]


@dataclass(frozen=True)
class Pace:
    """Pace of broadcasts: a block of one subject, then a block of the next."""

    blocks: int  #: blocks of each subject
    block: int  #: broadcasts in a block
    nap: float  #: seconds that the publisher sleeps before it reads the page again
    pause: float = 0.0  #: seconds that it sleeps before it publishes the next


@dataclass(frozen=True)
class Case:
    """Case of a number of processes. Only its subjects run while it is measured."""

    name: str
    processes: int
    handlers: int  # in each process
    subjects: Subjects
    in_succession: Pace
    alone: Mapping[str, Pace] = field(default_factory=dict)  # the case's name in these words


def kernel(share: int = SHARD, subject: str = FLOOR) -> tuple[str, Callable[[Field], Subject]]:
    """The floor beside a case: `share` processes watch one eventfd."""

    def start(field: Field) -> floor.Floor:
        try:
            return floor.wakes(field.children, field.processes, share)
        except floor.NoCompiler as missing:
            raise Unavailable(str(missing)) from None

    return subject, start


US, PYZMQ = ("three-mode", publishers.bus), ("pyzmq", publishers.pyzmq)
CASES = (
    Case(
        AGENTS,
        2,
        256,
        dict([US, PYZMQ, ("redis", publishers.redis), ("nats", publishers.nats), kernel(), kernel(1, EACH)]),
        in_succession=Pace(80, 20, 0.0002),
        alone={ALONE_3: Pace(20, 10, 0.0002, 0.003), ALONE_10: Pace(10, 10, 0.0002, 0.01)},
    ),
    Case(
        SHOWN,
        2,
        256,
        dict(
            [
                US,
                ("pipes", publishers.pipes),
                ("zenoh", publishers.zenoh),
                ("iceoryx2", publishers.iceoryx2),
                kernel(),
            ]
        ),
        in_succession=Pace(40, 20, 0.0002),
    ),
    Case(
        MANY,
        64,
        1,
        dict([US, PYZMQ, kernel()]),
        in_succession=Pace(40, 10, 0.001),
        alone={ALONE_3: Pace(10, 6, 0.001, 0.003), ALONE_10: Pace(5, 6, 0.001, 0.01)},
    ),
    Case(
        MOST,
        512,
        1,
        dict([US, PYZMQ, kernel()]),
        in_succession=Pace(12, 5, 0.01),
        alone={ALONE_3: Pace(4, 5, 0.01, 0.003), ALONE_10: Pace(4, 5, 0.01, 0.01)},
    ),
)


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    for case in CASES:
        if context.quick and case.processes > 64:
            continue
        with _field(case) as field:
            ready: dict[str, Subject] = {}
            for subject, make in case.subjects.items():
                context.progress(f"{case.name}: starting {subject}")
                try:
                    ready[subject] = make(field)
                except Unavailable as missing:
                    yield Missing(case=case.name, subject=subject, how_to_get=str(missing))
            yield from _rows(case.name, ready, case.in_succession, context)
            for words, pace in case.alone.items():
                yield from _rows(words.format(case.name), ready, pace, context, firsts=case.name == AGENTS)
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


def _rows(name: str, ready: Mapping[str, Subject], pace: Pace, context: Context, firsts: bool = False) -> Iterator[Row]:
    first: dict[str, list[float]] = {subject: [] for subject in ready}
    samples = {subject: _sample(publisher, pace, first[subject]) for subject, publisher in ready.items()}
    taken = alternate(samples, context.rounds(pace.blocks), block=pace.block)
    for subject, seconds in taken.items():
        yield Row(case=name, subject=subject, unit="us", samples=[1e6 * s for s in seconds])
    for subject, seconds in taken.items() if firsts else ():
        counted = first[subject][-len(seconds) :]
        yield Row(case=FIRST.format(name), subject=subject, unit="us", samples=[1e6 * s for s in counted])


def _sample(subject: Subject, pace: Pace, first: list[float]) -> Callable[[], float]:
    """One broadcast: returns the seconds until the last handler ran, and adds those until the first one to `first`."""
    if isinstance(subject, floor.Floor):
        return _of_floor(subject, pace, first)
    return _of_publisher(subject, pace, first)


def _of_publisher(publisher: publishers.Publisher, pace: Pace, first: list[float]) -> Callable[[], float]:
    board, publish = publisher

    def sample() -> float:
        if pace.pause:
            time.sleep(pace.pause)
        board.clear()
        started = time.monotonic_ns()
        publish()
        last = board.last(20.0, pace.nap)
        first.append((board.first() - started) / 1e9)
        return (last - started) / 1e9

    return sample


def _of_floor(subject: floor.Floor, pace: Pace, first: list[float]) -> Callable[[], float]:
    """Takes a block at once: the program keeps the pace."""
    waiting: list[floor.Times] = []

    def sample() -> float:
        if not waiting:
            waiting.extend(subject.rounds(pace.block, pace.pause, pace.nap))
        times = waiting.pop(0)
        first.append(times.first)
        return times.last

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
        Target(case=AGENTS, subject="three-mode", peer="pyzmq", at_most=0.33),
        Target(case=AGENTS, subject="three-mode", peer="redis", at_most=0.25),
        Target(case=AGENTS, subject="three-mode", peer="nats", at_most=0.25),
        Target(
            case=FIRST.format(ALONE_3.format(AGENTS)),
            subject="three-mode",
            peer=FLOOR,
            peer_case=ALONE_3.format(AGENTS),
            at_most=1.2,
        ),
        *(
            Target(case=words.format(AGENTS), subject="three-mode", peer=peer, at_most=bound)
            for words in (ALONE_3, ALONE_10)
            for peer, bound in (("pyzmq", 0.5), (FLOOR, 1.6))
        ),
        Target(case=MANY, subject="three-mode", peer="pyzmq", at_most=0.35),
        Target(case=MOST, subject="three-mode", peer="pyzmq", at_most=0.4),
        *(Target(case=many, subject="three-mode", peer=FLOOR, at_most=1.3) for many in (MANY, MOST)),
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
        "this is part of the lead over readers that sleep. '3 ms apart' and '10 ms apart' have the same processes "
        "and the same readers, and the publisher sleeps so long before each broadcast: all readers sleep by then, so "
        "this is what waking them takes, and our lead is smaller. 'Until the first' is the first handler of the first "
        "process in the same broadcasts. 'The kernel alone' is the floor beneath it all: programs in C that wake each "
        "other through an eventfd and an epoll, 64 of them to an eventfd, as ours do, and only stamp "
        "(bus_peers/floor.c). A first handler is told beside the floor's "
        "last process, because ours may be the one that is woken last. 'Beside others' has separate processes for "
        "peers that no target names. They may be ahead of us, and pipes are where our readers sleep: one write for "
        "each process that blocks in a read, without an event loop, subscriptions, receipts or an envelope. The "
        "calls one after another are what an agent system without a bus does to reach 512 agents: their number over "
        "ours is the honest form of the factor that such systems claim."
    ),
)
