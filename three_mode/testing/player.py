"""Plays an answer onto a wire, with its faults. Knows nothing of HTTP's two versions."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from three_mode.testing.script import Answer, Behaviour, Fault, Header, Seen


class Gone(Exception):
    """The client, or the fault, has ended the stream: nothing more can be sent."""


class Wire(Protocol):
    """One response of one connection."""

    def limit_bytes(self, count: int) -> None:
        """After that many more bytes the connection is cut."""

    async def head(self, status: int, headers: list[Header], *, streamed: bool, ends: bool) -> None: ...
    async def data(self, data: bytes) -> None: ...
    async def end(self, trailers: tuple[Header, ...]) -> None: ...
    def cut(self) -> None: ...
    def reset(self, code: int) -> None: ...
    def goaway(self, *, processed: bool, code: int) -> None: ...


class ServerConnection(Protocol):
    """One client's connection, of either version of HTTP."""

    def cut(self) -> None:
        """Closes it at once."""


class ServingProvider(Protocol):
    """What a connection needs of the provider that it belongs to."""

    behaviour: Behaviour
    complaints: list[str]

    def connected(self, connection: ServerConnection, transport: asyncio.Transport) -> None:
        """The connection is open."""

    def disconnected(self, connection: ServerConnection) -> None:
        """The connection is closed."""

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
        """Sends what the script has for this request. Raises Gone where the stream ends before the answer."""

    def cancelled(self, seen: Seen, code: int | None) -> None:
        """The client left before the whole response was out; `code` is its reset's, over HTTP/2."""


async def play(answer: Answer, fault: Fault, wire: Wire, seen: Seen) -> None:
    """Raises Gone where the stream ends before the answer."""
    if fault.cut_after_bytes is not None:
        wire.limit_bytes(fault.cut_after_bytes)
    _at(-1, fault, wire)
    if fault.stall_before_head:
        await asyncio.sleep(fault.stall_before_head)
    headers = list(answer.headers)
    if not answer.streamed:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await wire.head(answer.status, headers, streamed=answer.streamed, ends=False)
    sent_bytes = 0
    for number, piece in enumerate(answer.pieces):
        await _between(number, fault, wire)
        for part in _parts(piece, fault):
            if fault.cut_body_after_bytes is not None and sent_bytes + len(part) >= fault.cut_body_after_bytes:
                await wire.data(part[: fault.cut_body_after_bytes - sent_bytes])
                wire.cut()
                raise Gone
            await wire.data(part)
            sent_bytes += len(part)
        seen.pieces_sent = number + 1
    await _between(len(answer.pieces), fault, wire)
    await wire.end(answer.trailers)


def _parts(piece: bytes, fault: Fault) -> Iterator[bytes]:
    if fault.byte_by_byte:
        yield from (piece[i : i + 1] for i in range(len(piece)))
    else:
        yield piece


async def _between(number: int, fault: Fault, wire: Wire) -> None:
    if fault.pause:
        await asyncio.sleep(fault.pause)
    if fault.stall_after == number:
        await asyncio.sleep(fault.stall_for)
    _at(number, fault, wire)


def _at(number: int, fault: Fault, wire: Wire) -> None:
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
