"""Throughput from one writer to one reader process: dicts of 100 bytes, and payloads of 1 MiB."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks.bus_peers.board import PAYLOAD, Board, Children
from benchmarks.bus_peers.publishers import temporary_folder
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate, cores

MESSAGES = 25_000
LARGE = 400
MIB = bytes(1 << 20)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


Handler = Callable[[Any], None]


def small(board: Board) -> tuple[Handler, Handler]:
    """Handlers of small payloads, which count and stamp when a round is complete: one for payloads, one for the
    messages of the bus, so that a message costs one plain function on every side.
    """
    seen = 0

    def item(payload: Any) -> None:
        nonlocal seen
        seen += payload["id"] > 0
        if seen == MESSAGES:
            seen = 0
            board.stamp(0)

    def of_message(message: Any) -> None:
        nonlocal seen
        seen += message.payload["id"] > 0
        if seen == MESSAGES:
            seen = 0
            board.stamp(0)

    return item, of_message


def large(board: Board) -> Handler:
    """Handler of large payloads."""
    seen = 0

    def item(payload: bytes) -> None:
        nonlocal seen
        seen += len(payload) >> 20
        if seen == LARGE:
            seen = 0
            board.stamp(0)

    return item


def ready(board: Board) -> None:
    """Notes that all is set up. Threads that the process has by now may run on any core."""
    cores.seat(1)
    board.stamp(0)


async def read_bus(address: str, board: Board) -> None:
    """Reads from the bus."""
    from transports.bus import Bus, Policy, SubscribeOptions

    bus, whole = await Bus.join(address), large(board)
    for topic, handler in (
        ("small", small(board)[1]),
        ("large", lambda message: whole(message.payload)),
    ):
        await bus.subscribe(topic, handler, SubscribeOptions(policy=Policy.RELIABLE))
        await bus.register(topic, handler)
    ready(board)
    await asyncio.Event().wait()


def read_zmq(address: str, board: Board) -> None:
    """Reads from a PULL socket."""
    import zmq

    socket = zmq.Context().socket(zmq.PULL)
    socket.bind(address)
    take(socket.recv, board)


def read_pipe(address: str, board: Board) -> None:
    """Reads from a pipe."""
    from multiprocessing.connection import Listener

    listener = Listener(address, "AF_UNIX")
    board.stamp(0)
    take(listener.accept().recv_bytes, board)


def take(receive: Callable[[], bytes], board: Board) -> None:
    """Reads forever with `receive`."""
    (item, _), whole = small(board), large(board)
    ready(board)
    while True:
        raw = receive()
        if len(raw) < len(MIB):
            item(_decode(raw))
        else:
            whole(raw)


READERS: dict[str, Callable[[str, Board], Any]] = {"bus": read_bus, "zmq": read_zmq, "pipe": read_pipe}
Send = Callable[[Any, int], None]


def _kind(payload: Any) -> str:
    return "large" if type(payload) is bytes else "small"


def publish_bus(address: str, runner: asyncio.Runner) -> Send:
    """Publishes with RELIABLE: nothing is lost, and the writer waits when the ring is full."""
    from transports.bus import Bus

    bus = runner.run(Bus.join(address))
    runner.run(bus.wait_for("large", within=30))

    async def publish(payload: Any, count: int) -> None:
        topic = _kind(payload)
        for _ in range(count):
            receipt = bus.publish(topic, payload)
            if not receipt.seq:
                await receipt

    return lambda payload, count: runner.run(publish(payload, count))


def write_bus(address: str, runner: asyncio.Runner) -> Send:
    """Sends to a name on the bus."""
    from transports.bus import Bus

    bus = runner.run(Bus.join(address))
    runner.run(bus.wait_for("large", within=30))

    async def send(payload: Any, count: int) -> None:
        name = _kind(payload)
        for _ in range(count):
            await bus.send(name, payload)

    return lambda payload, count: runner.run(send(payload, count))


def write_zmq(address: str, runner: asyncio.Runner) -> Send:
    """Sends on a PUSH socket."""
    import zmq

    socket = zmq.Context().socket(zmq.PUSH)
    socket.connect(address)

    def send(payload: Any, count: int) -> None:
        if type(payload) is bytes:
            for _ in range(count):
                socket.send(payload, copy=False)
        else:
            for _ in range(count):
                socket.send(_encode(payload))

    return send


def write_pipe(address: str, runner: asyncio.Runner) -> Send:
    """Sends through a pipe."""
    from multiprocessing.connection import Client

    connection = Client(address, "AF_UNIX")

    def send(payload: Any, count: int) -> None:
        for _ in range(count):
            connection.send_bytes(payload if type(payload) is bytes else _encode(payload))

    return send


SUBJECTS: dict[str, tuple[str, Callable[[str, asyncio.Runner], Send]]] = {
    "three-mode": ("bus", publish_bus),
    "three-mode, send to a name": ("bus", write_bus),
    "pyzmq": ("zmq", write_zmq),
    "pipes": ("pipe", write_pipe),
}


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as folder,
        Children() as children,
    ):
        items: dict[str, Callable[[], float]] = {}
        payloads: dict[str, Callable[[], float]] = {}
        for subject, (kind, write) in SUBJECTS.items():
            path = Path(folder) / kind
            address = {"bus": f"bench-{path.parent.name}-{len(items)}", "zmq": f"ipc://{path}"}.get(kind, str(path))
            board = Board(1)
            children.start("benchmarks.bus_throughput", [kind, address, board.fd], [board.fd])
            board.last(30.0, 0.02)
            send = write(address, runner)
            items[subject] = _sample(board, send, PAYLOAD, MESSAGES)
            payloads[subject] = _sample(board, send, MIB, LARGE)
        with cores.this_thread_on(0):
            taken = alternate(items, context.rounds(24)), alternate(payloads, context.rounds(15))
        for subject, seconds in taken[0].items():
            rates = [MESSAGES / s for s in seconds]
            yield Row(case="messages", subject=subject, unit="1/s", samples=rates, higher_is_better=True)
        for subject, seconds in taken[1].items():
            rates = [LARGE / s for s in seconds]
            yield Row(case="1 MiB payloads", subject=subject, unit="MiB/s", samples=rates, higher_is_better=True)


def _sample(board: Board, send: Send, payload: Any, count: int) -> Callable[[], float]:
    def sample() -> float:
        board.clear()
        started = time.monotonic_ns()
        send(payload, count)
        return (board.last(60.0) - started) / 1e9

    return sample


BENCHMARK = Benchmark(
    summary="one writer to one reader process: 100-byte dicts, and payloads of 1 MiB",
    run=run,
    targets=[
        Target(case="messages", subject="three-mode", peer="pyzmq", at_least=2.2),
        Target(case="1 MiB payloads", subject="three-mode", peer="pyzmq", at_least=3.0),
    ],
    notes=(
        "Codec and a Python handler included. pyzmq is PUSH/PULL in plain blocking loops (large ones sent without a "
        "copy); three-mode's ends are event loops: a RELIABLE publish, and a send to a name, each awaited. Every "
        "side's handler is one Python function a message. The main thread of each writer has one core, that of each "
        "reader another."
    ),
)


def main() -> None:
    """Runs the reader process."""
    kind, address, fd = sys.argv[1:]
    board, read = Board(1, int(fd)), READERS[kind]
    if asyncio.iscoroutinefunction(read):
        uvloop.run(read(address, board))
    else:
        read(address, board)


if __name__ == "__main__":
    main()
