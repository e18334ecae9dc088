"""Reader processes: `python -m benchmarks.bus_peers.readers KIND ADDRESS HANDLERS BOARD_FD SLOTS FIRST COUNT`.

COUNT processes are forked once everything is imported, so that 512 of them start in seconds. Readers of every kind do
the same with a message: decode it once, call each handler, stamp the time.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.bus_peers.board import Board
from benchmarks.harness import cores

TOPIC = "news.eu"
_decode = msgspec.msgpack.Decoder().decode


class Item:
    """Message of a peer: handlers of every subject are the same functions, and look at its payload."""

    __slots__ = ("payload",)

    def __init__(self, payload: Any) -> None:
        self.payload = payload


class Handlers:
    """Plain handlers of one process; the first one and the last one stamp the time."""

    def __init__(self, count: int, board: Board, slot: int) -> None:
        self._board, self._slot = board, slot
        self.seen = [0] * count
        self.all = [self._first_handler(), *(self._handler(n) for n in range(1, count))]

    def _handler(self, n: int) -> Callable[[Any], None]:
        seen = self.seen

        def handle(message: Any) -> None:
            seen[n] += message.payload["id"]

        return handle

    def _first_handler(self) -> Callable[[Any], None]:
        seen, board, slot = self.seen, self._board, self._slot

        def handle(message: Any) -> None:
            board.stamp_first(slot)
            seen[0] += message.payload["id"]

        return handle

    def run(self, raw: bytes) -> None:
        """Decodes a payload, calls each handler, and stamps."""
        item = Item(_decode(raw))
        for handler in self.all:
            handler(item)
        self.ran()

    def ran(self) -> None:
        """Stamps that the handlers ran."""
        self._board.stamp(self._slot)

    def ready(self) -> None:
        """Notes that all is set up. Threads that the process has by now may run on any core."""
        cores.seat(self._slot)
        self._board.stamp(self._slot)


async def read_bus(address: str, handlers: Handlers) -> None:
    """Reads from the bus, with a separate subscription for each handler, as agents have."""
    from transports.bus import Bus, BusOptions, SubscribeOptions

    bus = await Bus.join(address, BusOptions(join_within=100.0))  # 512 join at once

    wanted = [("news.*", handle, SubscribeOptions()) for handle in handlers.all]
    await bus.subscribe_many([*wanted, ("news.*", lambda message: handlers.ran(), SubscribeOptions())])
    handlers.ready()
    await asyncio.Event().wait()


def read_zmq(address: str, handlers: Handlers) -> None:
    """Reads from raw PUB/SUB, without envelope or event loop: the best case of pyzmq."""
    import zmq

    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(address)
    socket.subscribe(TOPIC.encode())
    handlers.ready()
    while True:
        handlers.run(socket.recv_multipart()[1])


async def read_redis(address: str, handlers: Handlers) -> None:
    """Reads from Redis."""
    import redis.asyncio

    listener = redis.asyncio.Redis.from_url(address).pubsub()
    await listener.subscribe(TOPIC)
    await listener.get_message(timeout=5)
    handlers.ready()
    async for item in listener.listen():
        if item["type"] == "message":
            handlers.run(item["data"])


async def read_nats(address: str, handlers: Handlers) -> None:
    """Reads from NATS."""
    import nats

    connection = await nats.connect(address)

    async def receive(message: Any) -> None:
        handlers.run(message.data)

    await connection.subscribe(TOPIC, cb=receive)
    await connection.flush()
    handlers.ready()
    await asyncio.Event().wait()


def read_queue(address: str, handlers: Handlers) -> None:
    """Reads from a connection of multiprocessing."""
    from multiprocessing.connection import Client

    connection = Client(address, "AF_UNIX")
    handlers.ready()
    while True:
        handlers.run(connection.recv_bytes())


def read_zenoh(address: str, handlers: Handlers) -> None:
    """Reads from zenoh."""
    import json
    import threading

    import zenoh

    config = zenoh.Config()
    config.insert_json5("mode", json.dumps("peer"))
    config.insert_json5("connect/endpoints", json.dumps([address]))
    config.insert_json5("scouting/multicast/enabled", "false")
    session = zenoh.open(config)
    session.declare_subscriber(TOPIC.replace(".", "/"), lambda sample: handlers.run(bytes(sample.payload)))
    handlers.ready()
    threading.Event().wait()


def read_iceoryx2(address: str, handlers: Handlers) -> None:
    """Reads data by publish-subscribe and waits for events, as the documentation of iceoryx2 shows."""
    import ctypes

    import iceoryx2 as iox2

    iox2.set_log_level(iox2.LogLevel.Error)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    service = (
        node.service_builder(iox2.ServiceName.new(address))
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .open_or_create()
    )
    event = node.service_builder(iox2.ServiceName.new(address)).event().open_or_create()
    subscriber = service.subscriber_builder().create()
    listener = event.listener_builder().create()
    handlers.ready()
    while True:
        listener.blocking_wait()
        while (sample := subscriber.receive()) is not None:
            payload = sample.payload()
            handlers.run(ctypes.string_at(payload.as_ptr(), payload.len()))
            sample.delete()


KINDS: dict[str, Callable[[str, Handlers], Any]] = {
    "bus": read_bus,
    "zmq": read_zmq,
    "redis": read_redis,
    "nats": read_nats,
    "queue": read_queue,
    "zenoh": read_zenoh,
    "iceoryx2": read_iceoryx2,
}


def _import(*names: str) -> Callable[[], None]:
    def load() -> None:
        for name in names:
            importlib.import_module(name)

    return load


PRELOAD: dict[str, Callable[[], None]] = {
    "bus": _import("uvloop", "transports.bus.bus", "transports.bus.rings.carrier"),
    "zmq": _import("zmq"),
    "redis": _import("uvloop", "redis.asyncio"),
    "nats": _import("uvloop", "nats"),
    "queue": _import("multiprocessing.connection"),
    "zenoh": _import("json"),
    "iceoryx2": _import("ctypes"),
}


def main() -> None:
    """Forks the readers and waits for them."""
    kind, address, count, fd, slots, first, processes = sys.argv[1:]
    read = KINDS[kind]
    PRELOAD[kind]()
    children = []
    for slot in range(int(first), int(first) + int(processes)):
        child = os.fork()
        if child == 0:
            _end_with_parent()
            serve(read, address, Handlers(int(count), Board(int(slots), int(fd)), slot))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _end_with_parent() -> None:
    """Makes the kernel kill this process when its parent ends."""
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def serve(read: Callable[[str, Handlers], Any], address: str, handlers: Handlers) -> None:
    """Runs one reader."""
    if asyncio.iscoroutinefunction(read):
        import uvloop

        uvloop.run(read(address, handlers))
    else:
        read(address, handlers)


if __name__ == "__main__":
    main()
