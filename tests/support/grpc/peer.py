"""A server on grpcio, in a process of its own: `python -m tests.support.grpc.peer aio|threads`. It prints its port.

Its service `t.Peer` takes and gives bytes. `Events` tells what the server has seen, such as calls that were cancelled.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

ROOT = Path(__file__).resolve().parents[3]
MOST = 16 << 20
OPTIONS = (("grpc.max_receive_message_length", MOST), ("grpc.max_send_message_length", MOST))
events: list[str] = []


def told(context: Any, name: str) -> None:
    """Notes when a call ends before its answer does."""
    events.append(f"{name} ended")


def failing(message: bytes) -> tuple[grpc.StatusCode, str, tuple[tuple[str, Any], ...]]:
    """`CODE text` -> the code, the text and trailers."""
    name, _, text = message.decode().partition(" ")
    trailers = (("seen-bin", b"\0\1\xff"), ("plain", "yes"), ("grpc-status-details-bin", b"\x08\x05"))
    return grpc.StatusCode[name], text, trailers


class Threads:
    """Handlers for a server of threads."""

    def echo(self, message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("trailing", "1"),))
        return message

    def packed(self, message: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return message

    def fail(self, message: bytes, context: Any) -> bytes:
        code, text, trailers = failing(message)
        context.set_trailing_metadata(trailers)
        context.abort(code, text)
        raise AssertionError

    def metadata(self, message: bytes, context: Any) -> bytes:
        return repr(sorted((key, value) for key, value in context.invocation_metadata())).encode()

    def left(self, message: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    def slow(self, message: bytes, context: Any) -> bytes:
        ended = threading.Event()
        context.add_callback(lambda: (events.append("slow ended"), ended.set()))
        events.append("slow began")
        ended.wait(20)
        return message

    def count(self, message: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(message)):
            yield str(number).encode()

    def endless(self, message: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(lambda: events.append("endless ended"))
        while context.is_active():
            yield message
            time.sleep(0.001)

    def breaks(self, message: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, "no more")

    def talk(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            yield b"heard " + message
            if message == b"enough":
                return

    def events(self, message: bytes, context: Any) -> bytes:
        return json.dumps(events).encode()


class Aio:
    """The same for a server of coroutines."""

    async def echo(self, message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("trailing", "1"),))
        return message

    async def packed(self, message: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return message

    async def fail(self, message: bytes, context: Any) -> bytes:
        code, text, trailers = failing(message)
        await context.abort(code, text, trailers)
        raise AssertionError

    async def metadata(self, message: bytes, context: Any) -> bytes:
        return repr(sorted((key, value) for key, value in context.invocation_metadata())).encode()

    async def left(self, message: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    async def slow(self, message: bytes, context: Any) -> bytes:
        events.append("slow began")
        try:
            await asyncio.sleep(20)
        finally:
            events.append("slow ended")
        return message

    async def count(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(message)):
            yield str(number).encode()

    async def endless(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield message
                await asyncio.sleep(0.001)
        finally:
            events.append("endless ended")

    async def breaks(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"
        await context.abort(grpc.StatusCode.DATA_LOSS, "no more")

    async def talk(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield b"heard " + message
            if message == b"enough":
                return

    async def events(self, message: bytes, context: Any) -> bytes:
        return json.dumps(events).encode()


def service(handlers: Any) -> Any:
    """The service of one of them."""
    unary, stream, both = (
        grpc.unary_unary_rpc_method_handler,
        grpc.unary_stream_rpc_method_handler,
        grpc.stream_stream_rpc_method_handler,
    )
    kinds = dict.fromkeys(("echo", "packed", "fail", "metadata", "left", "slow", "events"), unary)
    kinds |= dict.fromkeys(("count", "endless", "breaks"), stream) | {"talk": both}
    return grpc.method_handlers_generic_handler(
        "t.Peer", {name.title(): kind(getattr(handlers, name)) for name, kind in kinds.items()}
    )


def listen(server: Any, where: list[str]) -> int:
    """The port at which a server listens: as the command line says, else on loopback."""
    if where[:1] == ["unix"]:
        return int(server.add_insecure_port(f"unix:{where[1]}"))
    if where[:1] == ["tls"]:
        certificate, key = (Path(path).read_bytes() for path in where[1:])
        return int(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)])))
    return int(server.add_insecure_port("127.0.0.1:0"))


async def serve_aio(services: Any, where: list[str]) -> None:
    """Serves with coroutines until a line comes on the standard input."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((services,))
    port = listen(server, where)
    await server.start()
    print(port, flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await server.stop(10)


def serve_threads(services: Any, where: list[str]) -> None:
    """The same with threads."""
    server = grpc.server(ThreadPoolExecutor(80), options=OPTIONS)
    server.add_generic_rpc_handlers((services,))
    port = listen(server, where)
    server.start()
    print(port, flush=True)  # noqa: T201
    sys.stdin.readline()
    server.stop(10).wait()


class Peer(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """Asks it to end in good order: GOAWAY, and calls in progress may end."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"stop\n")
        self.process.stdin.flush()


@contextmanager
def running(kind: str, module: str = __name__, *where: str) -> Iterator[Peer]:
    """Runs one of the kinds of server that a module has. `where`: `unix PATH`, or `tls CERTIFICATE KEY`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, kind, *where],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield Peer(f"grpc://127.0.0.1:{int(process.stdout.readline())}", process)
    finally:
        process.kill()
        process.communicate()


def main(aio: Any, threads: Any) -> None:
    """Runs the kind that the command line says."""
    if sys.argv[1] == "aio":
        asyncio.run(serve_aio(aio, sys.argv[2:]))
    else:
        serve_threads(threads, sys.argv[2:])


if __name__ == "__main__":
    main(service(Aio()), service(Threads()))
