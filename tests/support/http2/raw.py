"""HTTP/2 server that sends malformed frames, over plain TCP with prior knowledge."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import hpack

from tests.support.connection.streams import listening
from transports.http2 import Pool, PoolOptions, Request, Timeouts

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK, PADDED = 0x1, 0x4, 0x1, 0x8
QUICK = Timeouts(connect=3, pool=3, write=3, first_byte=3, idle=3)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def block(*fields: tuple[str, str]) -> bytes:
    """Header block that needs no dynamic table."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode() for name, value in fields
    )


OK = block((":status", "200"))


class RawServer:
    """Server of one connection: reads frames by type, and writes bytes as given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = hpack.Decoder()
        self.frames: list[tuple[int, int, int, bytes]] = []

    async def greet(self, settings: bytes = b"") -> None:
        assert await self.reader.readexactly(len(PREFACE)) == PREFACE
        self.send(frame(SETTINGS, payload=settings))

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def read(self) -> tuple[int, int, int, bytes]:
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        read = (head[3], head[4], int.from_bytes(head[5:9], "big"), payload)
        self.frames.append(read)
        return read

    async def until(self, kind: int, stream: int | None = None) -> tuple[int, int, int, bytes]:
        """Reads to the next frame of a kind; the frames before it are kept in `frames`."""
        while True:
            read = await self.read()
            if read[0] == kind and (stream is None or read[2] == stream):
                return read

    async def request(self) -> int:
        """Reads the next request to its end; returns its stream."""
        _, flags, stream, _ = await self.until(HEADERS)
        while not flags & END_STREAM:
            _, flags, _, _ = await self.until(DATA, stream)
        return stream

    async def goaway(self) -> tuple[int, bytes]:
        """Reads the code with which the client ends the connection."""
        _, _, _, payload = await self.until(GOAWAY)
        return int.from_bytes(payload[4:8], "big"), payload[8:]


Script = Callable[[RawServer], Awaitable[None]]


@asynccontextmanager
async def raw(script: Script, options: PoolOptions | None = None) -> AsyncIterator[tuple[Pool, Request]]:
    """A pool, and a request for a server that runs `script` on each connection; its errors are raised here."""
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(RawServer(reader, writer))
            await writer.drain()
            await reader.read()  # until the client has left
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001 - an assertion of the script's; raised below
            failures.append(error)

    async with listening(serve) as port:
        async with Pool(options or PoolOptions(protocol="h2", trust_env=False)) as pool:
            yield pool, Request.to("POST", f"http://127.0.0.1:{port}/x", (), b"{}")
    if failures:
        raise failures[0]
