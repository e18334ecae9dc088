"""Asks from one process to another, one after another: the time of a call between agents."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import uvloop

from benchmarks.bus_peers import floor
from benchmarks.bus_peers.board import PAYLOAD, Board, Children
from benchmarks.bus_peers.publishers import temporary_folder
from benchmarks.harness import FLOOR, Benchmark, Context, Missing, Row, Target, alternate_async, cores

IN_SUCCESSION = "ask"
US, SPINNING = "three-mode", "three-mode, spinning"
SPIN = 0.02  # seconds: longer than any pause
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def item_id(raw: Any) -> Any:
    """Number that an answer carries."""
    return _decode(raw)["id"]


@dataclass(frozen=True)
class Pace:
    """Pace of the asks: so many samples of each subject in turn, each of so many asks, with a pause before each ask."""

    samples: int
    asks: int
    pause: float  #: in seconds


PACES = {
    IN_SUCCESSION: Pace(60, 300, 0.0),
    "ask, 3 ms apart": Pace(24, 10, 0.003),
    "ask, 10 ms apart": Pace(6, 10, 0.01),
}


# --- the answering side ---
async def serve_bus(address: str, ready: Callable[[], None], spin: float = 0.0) -> None:
    """Answers on the bus."""
    from transports.bus import Bus, BusOptions

    bus = await Bus.join(address, BusOptions(spin=spin))
    await bus.register("echo", lambda request: request.reply(request.payload["id"]))
    ready()
    await asyncio.Event().wait()


async def serve_zmq_loop(address: str, ready: Callable[[], None]) -> None:
    """Answers on a ROUTER that the loop's reader drives directly: no asyncio layer of pyzmq, no envelope."""
    import zmq

    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(address)

    def readable() -> None:
        while True:
            try:
                peer, raw = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            socket.send_multipart([peer, _encode(item_id(raw))])

    asyncio.get_running_loop().add_reader(socket.FD, readable)
    ready()
    while True:
        await asyncio.sleep(0.05)
        readable()


async def serve_zmq_asyncio(address: str, ready: Callable[[], None]) -> None:
    """Answers on a ROUTER of zmq.asyncio."""
    import zmq
    import zmq.asyncio

    socket = zmq.asyncio.Context().socket(zmq.ROUTER)
    socket.bind(address)
    ready()
    while True:
        peer, raw = await socket.recv_multipart()
        await socket.send_multipart([peer, _encode(item_id(raw))])


SERVERS: dict[str, Callable[[str, Callable[[], None]], Coroutine[Any, Any, None]]] = {
    "bus": serve_bus,
    "bus.spin": partial(serve_bus, spin=SPIN),
    "zmq": serve_zmq_loop,
    "zmq.asyncio": serve_zmq_asyncio,
}


# --- the asking side ---
async def ask_bus(address: str, spin: float = 0.0) -> Callable[[], Awaitable[Any]]:
    """Asks over the bus."""
    from transports.bus import Bus, BusOptions

    bus = await Bus.join(address, BusOptions(spin=spin))
    await bus.wait_for("echo", within=30)
    return lambda: bus.ask("echo", PAYLOAD)


async def ask_zmq_loop(address: str) -> Callable[[], Awaitable[Any]]:
    """Asks on a DEALER that the loop's reader drives directly."""
    import zmq

    loop = asyncio.get_running_loop()
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(address)
    waiting: list[asyncio.Future[Any]] = []

    def readable() -> None:
        while True:
            try:
                (raw,) = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            waiting.pop().set_result(_decode(raw))

    loop.add_reader(socket.FD, readable)

    async def ask() -> Any:
        future: asyncio.Future[Any] = loop.create_future()
        waiting.append(future)
        socket.send(_encode(PAYLOAD))
        if int(socket.get(zmq.EVENTS)) & zmq.POLLIN:
            loop.call_soon(readable)
        return await future

    return ask


async def ask_zmq_asyncio(address: str) -> Callable[[], Awaitable[Any]]:
    """Asks on a DEALER of zmq.asyncio."""
    import zmq
    import zmq.asyncio

    socket = zmq.asyncio.Context().socket(zmq.DEALER)
    socket.connect(address)

    async def ask() -> Any:
        await socket.send(_encode(PAYLOAD))
        return _decode(await socket.recv())

    return ask


ASKERS: dict[str, Callable[[str], Awaitable[Callable[[], Awaitable[Any]]]]] = {
    "bus": ask_bus,
    "bus.spin": partial(ask_bus, spin=SPIN),
    "zmq": ask_zmq_loop,
    "zmq.asyncio": ask_zmq_asyncio,
}
SUBJECTS = {US: "bus", SPINNING: "bus.spin", "pyzmq": "zmq", "pyzmq (zmq.asyncio)": "zmq.asyncio"}
SEATS = {FLOOR: 2, floor.ON_ONE_CORE: 1}
Sample = Callable[[], Awaitable[float]]


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as folder,
        Children() as children,
    ):
        yield from runner.run(_measure(context, Path(folder), children))


async def _measure(context: Context, folder: Path, children: Children) -> list[Row | Missing]:
    found: list[Row | Missing] = []
    asks: dict[str, Callable[[], Awaitable[Any]]] = {}
    for subject, kind in SUBJECTS.items():
        address = f"bench-{folder.name}-{kind}" if kind.startswith("bus") else f"ipc://{folder}/{kind}"
        board = Board(1)
        children.start("benchmarks.bus_ask", [kind, address, board.fd], [board.fd])
        await asyncio.to_thread(board.last, 30.0, 0.02)
        asks[subject] = await ASKERS[kind](address)
    pings: dict[str, floor.Floor] = {}
    try:
        pings = {subject: floor.pings(children, seats) for subject, seats in SEATS.items()}
    except floor.NoCompiler as missing:
        found.append(Missing(case=IN_SUCCESSION, subject=FLOOR, how_to_get=str(missing)))
    with cores.this_thread_on(0):
        for case, pace in PACES.items():
            samples = {subject: _sample(subject, ask, pace) for subject, ask in asks.items()}
            samples |= {subject: _of_floor(ping, pace) for subject, ping in pings.items()}
            taken = await alternate_async(samples, context.rounds(pace.samples), warm_up=2)
            for subject, seconds in taken.items():
                found.append(Row(case=case, subject=subject, unit="us", samples=[1e6 * s for s in seconds]))
    return found


def _sample(subject: str, ask: Callable[[], Awaitable[Any]], pace: Pace) -> Sample:
    async def sample() -> float:
        seconds = 0.0
        if pace.pause:
            await ask()  # not counted: others ran before it, and who spins begins to after it
        for _ in range(pace.asks):
            if pace.pause:
                await asyncio.sleep(pace.pause)
            started = time.perf_counter()
            await ask()
            seconds += time.perf_counter() - started
        if subject == SPINNING:
            await asyncio.sleep(2 * SPIN)  # so that it takes no core from the next subject
        return seconds / pace.asks

    return sample


def _of_floor(ping: floor.Floor, pace: Pace) -> Sample:
    async def sample() -> float:
        return mean(times.last for times in list(ping.rounds(pace.asks + 1, pace.pause))[1:])

    return sample


BENCHMARK = Benchmark(
    summary="ask with a 100-byte dict and one number back, from one process to another, one after another",
    run=run,
    targets=[
        Target(case=IN_SUCCESSION, subject=US, peer="pyzmq", at_most=0.2),
        Target(case=IN_SUCCESSION, subject=US, peer=FLOOR, peer_case="ask, 3 ms apart", at_most=0.35),
        Target(case=IN_SUCCESSION, subject=US, peer=floor.ON_ONE_CORE, at_most=2.5),
        Target(case="ask, 3 ms apart", subject=SPINNING, peer=US, at_most=0.5),
    ],
    notes=(
        "`pyzmq` drives DEALER and ROUTER directly from the loop's readers; `zmq.asyncio` is what its documentation "
        "offers for a loop. Both have no envelope, deadline, cancellation or liveness, which three-mode's figure "
        "includes. The main thread of the caller has one core, that of the answering process another. 'The kernel "
        "alone' is the floor: two programs in C that wake each other through an eventfd and an epoll "
        "(bus_peers/floor.c), across two cores and on one. An ask in succession wakes nobody, because both sides look "
        "a little longer (`BusOptions.linger`): so its target is told beside a floor that was parked, 3 ms apart. "
        "'Spinning' has `BusOptions.spin` on both sides, longer than the pauses."
    ),
)


def main() -> None:
    """Runs the answering process."""
    kind, address, fd = sys.argv[1:]
    board = Board(1, int(fd))
    os.set_inheritable(int(fd), False)

    def ready() -> None:
        cores.seat(1)
        board.stamp(0)

    uvloop.run(SERVERS[kind](address, ready))


if __name__ == "__main__":
    main()
