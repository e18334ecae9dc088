"""Asks from one process to another, one after another: the time of a call between agents."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.bus_peers.board import PAYLOAD, Board, Children
from benchmarks.bus_peers.publishers import temporary_folder
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async, cores

CALLS = 300
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def item_id(raw: Any) -> Any:
    """Number that an answer carries."""
    return _decode(raw)["id"]


# --- the answering side ---
async def serve_bus(address: str, ready: Callable[[], None]) -> None:
    """Answers on the bus."""
    from transports.bus import Bus

    bus = await Bus.join(address)
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


SERVERS = {"bus": serve_bus, "zmq": serve_zmq_loop, "zmq.asyncio": serve_zmq_asyncio}


# --- the asking side ---
async def ask_bus(address: str) -> Callable[[], Awaitable[Any]]:
    """Asks over the bus."""
    from transports.bus import Bus

    bus = await Bus.join(address)
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


ASKERS = {"bus": ask_bus, "zmq": ask_zmq_loop, "zmq.asyncio": ask_zmq_asyncio}
SUBJECTS = {"three-mode": "bus", "pyzmq": "zmq", "pyzmq (zmq.asyncio)": "zmq.asyncio"}


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as folder,
        Children() as children,
    ):
        samples = runner.run(_measure(context, Path(folder), children))
    for subject, seconds in samples.items():
        yield Row(case="ask", subject=subject, unit="us", samples=[1e6 * s for s in seconds])


async def _measure(context: Context, folder: Path, children: Children) -> dict[str, list[float]]:
    subjects: dict[str, Callable[[], Awaitable[float]]] = {}
    for subject, kind in SUBJECTS.items():
        address = f"bench-{folder.name}" if kind == "bus" else f"ipc://{folder}/{kind}"
        board = Board(1)
        children.start("benchmarks.bus_ask", [kind, address, board.fd], [board.fd])
        await asyncio.to_thread(board.last, 30.0, 0.02)
        subjects[subject] = _sample(await ASKERS[kind](address))
    with cores.this_thread_on(0):
        return await alternate_async(subjects, context.rounds(60), warm_up=2)


def _sample(ask: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[float]]:
    async def sample() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            await ask()
        return (time.perf_counter() - started) / CALLS

    return sample


BENCHMARK = Benchmark(
    summary="ask with a 100-byte dict and one number back, from one process to another, one after another",
    run=run,
    targets=[Target(case="ask", subject="three-mode", peer="pyzmq", at_most=0.2)],
    notes=(
        "`pyzmq` drives DEALER and ROUTER directly from the loop's readers; `zmq.asyncio` is what its documentation "
        "offers for a loop. Both have no envelope, deadline, cancellation or liveness, which three-mode's figure "
        "includes. The main thread of the caller has one core, that of the answering process another."
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
