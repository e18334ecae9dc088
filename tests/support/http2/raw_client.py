"""Clients that send what no client should, byte by byte and frame by frame, to a real server on loopback."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import hpack

from tests.support.http2.raw import ACK, DATA, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame

PATIENCE = 10.0  # seconds for the server to answer
EMPTY_SETTINGS = frame(SETTINGS)
GET = ((":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/"))
POST = ((":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo"))


@dataclass(frozen=True)
class Frame:
    """One frame from the server."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return int(struct.unpack_from(">I", self.payload, at)[0])


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seen: list[Frame] = []
        self._decoder = hpack.Decoder()

    async def send(self, data: bytes) -> None:
        """Bytes, as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def greet(self, settings: bytes = EMPTY_SETTINGS) -> None:
        """HTTP/2's preface, with SETTINGS."""
        await self.send(PREFACE + settings)

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the connection. SETTINGS are acknowledged."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        found = Frame(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload)
        self.seen.append(found)
        if found.kind == SETTINGS and not found.flags & ACK:
            self.writer.write(frame(SETTINGS, ACK))
        return found

    async def until(self, *kinds: int, stream: int | None = None) -> Frame:
        """The next frame of such a kind."""
        while True:
            found = await self.frame()
            assert found is not None, f"the connection ended after {self.seen}"
            if found.kind in kinds and stream in (None, found.stream):
                return found

    async def end(self) -> Frame:
        """GOAWAY, and then the end of the connection."""
        goodbye = await self.until(GOAWAY)
        while await self.frame() is not None:
            pass
        return goodbye

    async def response(self, stream: int) -> tuple[int, bytes]:
        """The status and the body of a stream, or its error code, negative."""
        status, body = 0, b""
        while True:
            found = await self.until(HEADERS, DATA, RST_STREAM, stream=stream)
            if found.kind == RST_STREAM:
                return -found.code, body
            if found.kind == HEADERS:
                fields: list[Any] = list(self._decoder.decode(found.payload))
                status = int(dict(fields).get(":status", status))
            else:
                body += found.payload
            if found.flags & 1:
                return status, body


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    """A connection to loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()


async def ask(port: int, data: bytes) -> bytes:
    """What the server answers to these bytes until it closes, or until it has said all and the client is patient no
    more.
    """
    async with raw_client(port) as client:
        await client.send(data)
        return await client.rest()
