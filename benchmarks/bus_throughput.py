"""One writer, one reader process, one way: messages per second of 100-byte dicts, and bytes per second of 1 MiB payloads."""

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


class Count:
    """The handler: counts, and stamps when a round is complete. One function a message on all sides: `item` takes a payload,
    `of_message` does the same with what the bus hands to its handlers."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.small = self.large = 0

    def ready(self) -> None:
        """All is set up. Threads of its own that it has by now may run where they like."""
        cores.seat(1)
        self.board.stamp(0)

    def item(self, payload: Any) -> None:
        if type(payload) is bytes:
            self.large += len(payload) >> 20
            if self.large % LARGE == 0:
                self.board.stamp(0)
        else:
            self.small += payload["id"] > 0
            if self.small % MESSAGES == 0:
                self.board.stamp(0)

    def of_message(self, message: Any) -> None:
        payload = message.payload
        if type(payload) is bytes:
            self.large += len(payload) >> 20
            if self.large % LARGE == 0:
                self.board.stamp(0)
        else:
            self.small += payload["id"] > 0
            if self.small % MESSAGES == 0:
                self.board.stamp(0)


async def read_bus(address: str, count: Count) -> None:
    from transports.bus import Bus, Policy, SubscribeOptions

    bus = await Bus.join(address)
    await bus.subscribe("items", count.of_message, SubscribeOptions(policy=Policy.RELIABLE))
    await bus.register("sink", count.of_message)
    count.ready()
    await asyncio.Event().wait()


def read_zmq(address: str, count: Count) -> None:
    import zmq

    socket = zmq.Context().socket(zmq.PULL)
    socket.bind(address)
    count.ready()
    while True:
        raw = socket.recv()
        count.item(raw if len(raw) == len(MIB) else _decode(raw))


def read_pipe(address: str, count: Count) -> None:
    from multiprocessing.connection import Listener

    listener = Listener(address, "AF_UNIX")
    count.ready()
    connection = listener.accept()
    while True:
        raw = connection.recv_bytes()
        count.item(raw if len(raw) == len(MIB) else _decode(raw))


READERS: dict[str, Callable[[str, Count], Any]] = {"bus": read_bus, "zmq": read_zmq, "pipe": read_pipe}
Send = Callable[[Any, int], None]


def publish_bus(address: str, runner: asyncio.Runner) -> Send:
    """RELIABLE: nothing is lost, the writer waits when the ring is full."""
    from transports.bus import Bus

    bus = runner.run(Bus.join(address))
    runner.run(bus.wait_for("sink", within=30))

    async def publish(payload: Any, count: int) -> None:
        for _ in range(count):
            receipt = bus.publish("items", payload)
            if not receipt.seq:
                await receipt

    return lambda payload, count: runner.run(publish(payload, count))


def write_bus(address: str, runner: asyncio.Runner) -> Send:
    from transports.bus import Bus

    bus = runner.run(Bus.join(address))
    runner.run(bus.wait_for("sink", within=30))

    async def send(payload: Any, count: int) -> None:
        for _ in range(count):
            await bus.send("sink", payload)

    return lambda payload, count: runner.run(send(payload, count))


def write_zmq(address: str, runner: asyncio.Runner) -> Send:
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
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        temporary_folder() as folder,
        Children() as children,
    ):
        small: dict[str, Callable[[], float]] = {}
        large: dict[str, Callable[[], float]] = {}
        for subject, (kind, write) in SUBJECTS.items():
            path = Path(folder) / kind
            address = {"bus": f"bench-{path.parent.name}-{len(small)}", "zmq": f"ipc://{path}"}.get(
                kind, str(path)
            )
            board = Board(1)
            children.start("benchmarks.bus_throughput", [kind, address, board.fd], [board.fd])
            board.last(30.0, 0.02)
            send = write(address, runner)
            small[subject] = _sample(board, send, PAYLOAD, MESSAGES)
            large[subject] = _sample(board, send, MIB, LARGE)
        with cores.this_thread_on(0):
            taken = alternate(small, context.rounds(24)), alternate(large, context.rounds(15))
        for subject, seconds in taken[0].items():
            rates = [MESSAGES / s for s in seconds]
            yield Row(case="messages", subject=subject, unit="1/s", samples=rates, higher_is_better=True)
        for subject, seconds in taken[1].items():
            rates = [LARGE / s for s in seconds]
            yield Row(
                case="1 MiB payloads", subject=subject, unit="MiB/s", samples=rates, higher_is_better=True
            )


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
        Target(case="messages", subject="three-mode", peer="pyzmq", at_least=2.0),
        Target(case="1 MiB payloads", subject="three-mode", peer="pyzmq", at_least=3.0),
    ],
    notes="Codec and a Python handler included. pyzmq is PUSH/PULL in plain blocking loops (large ones sent without a copy); three-mode's"
    " ends are event loops: a RELIABLE publish, and a send to a name, each awaited. Every side's handler is one Python function a message, and the main thread of each writer has one core, of each reader another.",
)


def main() -> None:
    kind, address, fd = sys.argv[1:]
    count = Count(Board(1, int(fd)))
    read = READERS[kind]
    if asyncio.iscoroutinefunction(read):
        uvloop.run(read(address, count))
    else:
        read(address, count)


if __name__ == "__main__":
    main()
