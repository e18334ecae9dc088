"""Publisher of each peer, for `bus_broadcast`: starts the readers, then `publish()` sends one payload."""

import asyncio
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bus_peers import servers
from benchmarks.bus_peers.board import PAYLOAD, Board, Children
from benchmarks.bus_peers.readers import TOPIC

encode = msgspec.msgpack.Encoder().encode


class Unavailable(Exception):
    """A peer is not installed; the text is the command that installs it."""


@dataclass(frozen=True)
class Field:
    """Resources of a benchmark: its loop, its processes, a temporary folder."""

    runner: asyncio.Runner
    children: Children
    folder: Path
    processes: int
    handlers: int

    def readers(self, kind: str, address: str) -> Board:
        """Starts reader processes of a kind."""
        board = Board(self.processes)
        arguments = [kind, address, self.handlers, board.fd, self.processes, 0, self.processes]
        self.children.start("benchmarks.bus_peers.readers", arguments, [board.fd])
        return board


Publisher = tuple[Board, Callable[[], object]]


def _ready(board: Board, within: float = 120.0) -> None:
    board.last(within, 0.05)


def bus(field: Field) -> Publisher:
    """Publishes over our bus."""
    from transports.bus import Bus

    name = f"bench-{field.folder.name}"
    member = field.runner.run(Bus.join(name))
    board = field.readers("bus", name)

    async def wait() -> None:
        await asyncio.to_thread(_ready, board)
        await member.publish(TOPIC, PAYLOAD).settled(within=30.0)  # the first one makes the ring, which all are handed

    field.runner.run(wait())
    return board, lambda: member.publish(TOPIC, PAYLOAD)


def pyzmq(field: Field) -> Publisher:
    """Publishes on a PUB socket."""
    import time

    import zmq

    socket = zmq.Context().socket(zmq.PUB)
    socket.set_hwm(0)
    socket.bind(f"ipc://{field.folder}/zmq")
    board = field.readers("zmq", f"ipc://{field.folder}/zmq")
    _ready(board)
    time.sleep(1.0)  # PUB does not say when subscriptions arrived
    topic = TOPIC.encode()
    return board, lambda: socket.send_multipart([topic, encode(PAYLOAD)])


def redis(field: Field) -> Publisher:
    """Publishes over Redis."""
    try:
        import redis
    except ImportError:
        raise Unavailable("pip install redis") from None
    port = servers.free_port()
    server = servers.redis(port, field.folder)
    if server is None:
        raise Unavailable("apt-get install redis-server")
    field.children.adopt(server)
    address = f"redis://127.0.0.1:{port}"
    board = field.readers("redis", address)
    _ready(board)
    client = redis.Redis.from_url(address)
    return board, lambda: client.publish(TOPIC, encode(PAYLOAD))


def nats(field: Field) -> Publisher:
    """Publishes over NATS."""
    try:
        import nats
    except ImportError:
        raise Unavailable("pip install nats-py") from None
    port = servers.free_port()
    server = servers.nats(port, field.folder)
    if server is None:
        raise Unavailable("apt-get install nats-server")
    field.children.adopt(server)
    address = f"nats://127.0.0.1:{port}"
    board = field.readers("nats", address)
    _ready(board)
    client = field.runner.run(nats.connect(address))

    async def publish() -> None:
        await client.publish(TOPIC, encode(PAYLOAD))
        await client.flush()

    return board, lambda: field.runner.run(publish())


def pipes(field: Field) -> Publisher:
    """Publishes through connections of multiprocessing, one per process."""
    from multiprocessing.connection import Listener

    listener = Listener(f"{field.folder}/pipe", "AF_UNIX", backlog=field.processes)
    board = field.readers("queue", f"{field.folder}/pipe")
    connections = [listener.accept() for _ in range(field.processes)]
    _ready(board)

    def publish() -> None:
        raw = encode(PAYLOAD)
        for connection in connections:
            connection.send_bytes(raw)

    return board, publish


def zenoh(field: Field) -> Publisher:
    """Publishes over zenoh."""
    import time

    try:
        import zenoh
    except ImportError:
        raise Unavailable("pip install eclipse-zenoh") from None
    address = f"tcp/127.0.0.1:{servers.free_port()}"
    config = zenoh.Config()
    config.insert_json5("mode", json.dumps("peer"))
    config.insert_json5("listen/endpoints", json.dumps([address]))
    config.insert_json5("scouting/multicast/enabled", "false")
    session = zenoh.open(config)
    board = field.readers("zenoh", address)
    _ready(board)
    time.sleep(1.0)
    publisher = session.declare_publisher(TOPIC.replace(".", "/"))

    def publish() -> None:
        assert session is not None  # a session ends with its last reference
        publisher.put(encode(PAYLOAD))

    return board, publish


def iceoryx2(field: Field) -> Publisher:
    """Publishes over iceoryx2."""
    import ctypes

    try:
        import iceoryx2 as iox2
    except ImportError:
        raise Unavailable("pip install iceoryx2") from None
    iox2.set_log_level(iox2.LogLevel.Error)
    name = f"three-mode-{field.folder.name}"
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    service = (
        node.service_builder(iox2.ServiceName.new(name)).publish_subscribe(iox2.Slice[ctypes.c_uint8]).open_or_create()
    )
    event = node.service_builder(iox2.ServiceName.new(name)).event().open_or_create()
    publisher = service.publisher_builder().initial_max_slice_len(4096).create()
    notifier = event.notifier_builder().create()
    board = field.readers("iceoryx2", name)
    _ready(board)

    def publish() -> None:
        raw = encode(PAYLOAD)
        sample = publisher.loan_slice_uninit(len(raw))
        ctypes.memmove(sample.payload().as_ptr(), raw, len(raw))
        sample.assume_init().send()
        notifier.notify()

    return board, publish


def http2_calls(field: Field, calls: int) -> Callable[[], Any]:
    """One HTTP/2 call per agent, one after another, over one warm connection."""
    from transports.http2 import Pool, PoolOptions, Request

    port = servers.free_port()
    server = servers.nghttpd(port, field.folder)
    if server is None:
        raise Unavailable("apt-get install nghttp2")
    field.children.adopt(server)
    pool = Pool(PoolOptions(protocol="h2"))
    url = f"http://127.0.0.1:{port}/item"

    async def one_after_another() -> None:
        for _ in range(calls):
            await pool.fetch(Request.to("GET", url))

    return lambda: field.runner.run(one_after_another())


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Folder that is removed afterwards."""
    return tempfile.TemporaryDirectory(prefix="bench")
