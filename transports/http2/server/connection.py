"""What connections of all protocols have in common: a socket, a deadline, a place among the server's connections."""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

from transports.http2.server.cycle import Application, Cycle
from transports.http2.server.deadlines import NEVER, DeadlineWheel
from transports.http2.server.known_heads import KnownHeads
from transports.http2.server.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable

LINGER = 2.0  # seconds for a client to read why it was refused


class OwningServer(Protocol):
    """What a connection needs of the server that it belongs to."""

    answers_at_once: bool
    """Whether the application may answer without a task what is whole when it gets it."""
    application: Application
    heads: KnownHeads
    loop: asyncio.AbstractEventLoop
    options: ServerOptions
    retiring: bool
    running: "set[asyncio.Task[None]]"
    """Tasks of the application."""
    wheel: DeadlineWheel

    def date(self) -> bytes:
        """The time as a header's value."""

    def answer(self, cycle: Cycle) -> None:
        """Hands a request to the application."""

    def incomplete(self, cycle: Cycle) -> None:
        """A request has begun and is not whole."""

    def complete(self, cycle: Cycle) -> None:
        """The request is whole, or over."""

    def opened(self, connection: "AcceptedConnection") -> None:
        """The connection has a socket."""

    def closed(self, connection: "AcceptedConnection") -> None:
        """The connection's socket is closed."""

    def busy(self, connection: "AcceptedConnection") -> None:
        """The connection has a whole request: it is not closed to make room for another."""

    def idle(self, connection: "AcceptedConnection") -> None:
        """The connection has no whole request."""


class AcceptedConnection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: OwningServer) -> None:
        self.server = server
        self.loop = server.loop
        self.options = server.options
        self.running = server.running
        self.transport: asyncio.Transport | None = None
        self.deadline = NEVER
        self.watched_at = 0
        self.writable = True
        self.reading = True
        self.closing = False
        self.lingering = False
        self.discarded = 0  # bytes
        self._unsent = 0  # bytes that the client had not taken when it was looked at
        self.client: Any = None
        self.address: Any = None
        self.scheme = "http"

    # The server's side

    def retire(self) -> None:
        """Takes no more requests; closes with the last one that runs."""
        raise NotImplementedError

    def evict(self) -> None:
        """Closes at once: another connection needs the place, and this one has no whole request."""
        self.abort()

    def close(self) -> None:
        """Sends what is written already, then closes; a client that does not take it is cut off."""
        if not self.closing:
            self.closing = True
            if self.transport is not None:
                self._unsent = self.transport.get_write_buffer_size()
                self.transport.close()
            self.set_deadline(self.loop.time() + self.options.write_within)

    def abort(self) -> None:
        """Closes without another byte."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    def set_deadline(self, deadline: float) -> None:
        """The one deadline that a connection has now."""
        self.deadline = deadline
        self.server.wheel.watch(self)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = NEVER
        if self._is_taking():
            self.set_deadline(now + self.options.write_within)
        elif self.closing or not self.writable:
            self.abort()
        else:
            self.timed_out(now)

    def _is_taking(self) -> bool:
        """Whether a client that has bytes to take has taken some since the last look."""
        if self.transport is None or (self.writable and not self.closing):
            return False
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return self._unsent < before

    def timed_out(self, now: float) -> None:
        """The deadline of an open connection has passed."""
        raise NotImplementedError

    def linger(self) -> None:
        """Sends nothing more, and throws away what comes until the client has closed, or for a while: of a connection
        that is closed with bytes unread, the client sees a reset, and not what was written last."""
        if not self.lingering:
            self.lingering = True
            self.server.idle(self)
            if self.transport is not None and not self.closing and self.transport.can_write_eof():
                self.transport.write_eof()
            self.resume_reading()
            self.set_deadline(self.loop.time() + LINGER)

    def discard(self, size: int) -> None:
        """Bytes that nobody wants have come."""
        self.discarded += size
        if self.discarded > self.options.discard_bytes:
            self.abort()

    def pause_reading(self) -> None:
        """The client has to wait."""
        if self.reading and self.transport is not None and not self.closing:
            self.reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client may go on."""
        if not self.reading and self.transport is not None and not self.closing:
            self.reading = True
            self.transport.resume_reading()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.adopt(transport)
        self.server.opened(self)
        self.server.idle(self)
        self.set_deadline(self.loop.time() + self.options.head_within)

    def adopt(self, transport: asyncio.BaseTransport) -> None:
        """Takes the socket over."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        info: Callable[[str], Any] = transport.get_extra_info
        self.client, self.address = _pair(info("peername")), _pair(info("sockname"))
        if info("sslcontext") is not None:
            self.scheme = "https"
        self.transport.set_write_buffer_limits(high=self.options.write_buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.transport = None
        self.server.wheel.forget(self)
        self.server.closed(self)

    def pause_writing(self) -> None:
        """The client takes less than it asks for: nothing more is read from it until it has taken what there is."""
        self.writable = False
        self.pause_reading()
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
        self.set_deadline(self.loop.time() + self.options.write_within)

    def resume_writing(self) -> None:
        self.writable = True


def _pair(address: Any) -> Any:
    if isinstance(address, str) and address:
        return (address, None)  # the path of a Unix socket, as ASGI has it
    return tuple(address[:2]) if isinstance(address, tuple) else None
