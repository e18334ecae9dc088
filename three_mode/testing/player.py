"""Player: sends an answer over a wire, with its faults, in either version of HTTP."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from three_mode.testing.script import Answer, Behaviour, Fault, Header, Seen


class Gone(Exception):
    """The client, or the fault, has ended the stream: nothing more can be sent."""


class Wire(Protocol):
    """Wire of one response: sends its head, body and end, or breaks it."""

    def limit_bytes(self, count: int) -> None:
        """Cuts the connection after `count` more bytes."""

    async def head(self, status: int, headers: list[Header], *, streamed: bool, ends: bool) -> None:
        """Sends status and headers."""

    async def data(self, data: bytes) -> None:
        """Sends a part of the body."""

    async def end(self, trailers: tuple[Header, ...]) -> None:
        """Ends the response."""

    def cut(self) -> None:
        """Closes the connection at once."""

    def reset(self, code: int) -> None:
        """Resets the stream, or closes a connection of HTTP/1.1."""

    def goaway(self, *, processed: bool, code: int) -> None:
        """Sends GOAWAY, or closes a connection of HTTP/1.1."""


class ServerConnection(Protocol):
    """One client's connection, of either version of HTTP."""

    def cut(self) -> None:
        """Closes it at once."""


class ServingProvider(Protocol):
    """Provider, as its connections use it."""

    behaviour: Behaviour
    complaints: list[str]

    def connected(self, connection: ServerConnection, transport: asyncio.Transport) -> None:
        """Notes that the connection is open."""

    def disconnected(self, connection: ServerConnection) -> None:
        """Notes that the connection is closed."""

    def saw(
        self,
        *,
        method: str,
        path: str,
        headers: list[Header],
        http_version: str,
        connection: int,
        stream: int,
        body: bytes,
    ) -> Seen:
        """Records a request."""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs the work in a task that ends with the provider."""

    async def play(self, seen: Seen, wire: Wire) -> None:
        """Sends the scripted answer to this request. Raises Gone where the stream ends before the answer."""

    def cancelled(self, seen: Seen, code: int | None) -> None:
        """Notes that the client left before the whole response was sent; `code` is that of its RST_STREAM."""


async def play(answer: Answer, fault: Fault, wire: Wire, seen: Seen) -> None:
    """Sends an answer, with its fault. Raises Gone where the stream ends before the answer."""
    if fault.cut_after_bytes is not None:
        wire.limit_bytes(fault.cut_after_bytes)
    _break(-1, fault, wire)
    if fault.stall_before_head:
        await asyncio.sleep(fault.stall_before_head)
    headers = list(answer.headers)
    if not answer.streamed:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await wire.head(answer.status, headers, streamed=answer.streamed, ends=False)
    sent_bytes = 0
    for number, piece in enumerate(answer.pieces):
        await _pause_or_break(number, fault, wire)
        for part in _parts(piece, fault):
            if fault.cut_body_after_bytes is not None and sent_bytes + len(part) >= fault.cut_body_after_bytes:
                await wire.data(part[: fault.cut_body_after_bytes - sent_bytes])
                wire.cut()
                raise Gone
            await wire.data(part)
            sent_bytes += len(part)
        seen.pieces_sent = number + 1
    await _pause_or_break(len(answer.pieces), fault, wire)
    await wire.end(answer.trailers)


def _parts(piece: bytes, fault: Fault) -> Iterator[bytes]:
    if fault.byte_by_byte:
        yield from (piece[i : i + 1] for i in range(len(piece)))
    else:
        yield piece


async def _pause_or_break(number: int, fault: Fault, wire: Wire) -> None:
    if fault.pause:
        await asyncio.sleep(fault.pause)
    if fault.stall_after == number:
        await asyncio.sleep(fault.stall_for)
    _break(number, fault, wire)


def _break(number: int, fault: Fault, wire: Wire) -> None:
    if fault.goaway_after == number:
        wire.goaway(processed=fault.goaway_processed, code=fault.goaway_code)
        if not fault.goaway_processed:
            raise Gone
    if fault.reset_after == number:
        wire.reset(fault.reset_code)
        raise Gone
    if fault.cut_after == number:
        wire.cut()
        raise Gone
