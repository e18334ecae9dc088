"""What connections of both protocols have in common: bytes out in batches, back-pressure, an end, and an age."""

import asyncio
from abc import abstractmethod
from typing import Protocol, cast

from transports.http2.errors import ConnectionLost, PoolClosed, TransportError
from transports.http2.exchange import Exchange
from transports.http2.options import PoolOptions
from transports.http2.request import Origin
from transports.http2.statistics import OriginStatistics


class ConnectionOwner(Protocol):
    """What a connection needs of the pool that it belongs to."""

    origin: Origin
    options: PoolOptions
    statistics: OriginStatistics

    def resend(self, exchange: Exchange) -> bool:
        """Queues a call again that the server did not process; False where that is not possible."""

    def learned_limit(self, streams: int) -> None:
        """The server said how many streams a connection takes."""

    def remove(self, connection: "Connection") -> None:
        """The connection is closed, or closing."""

    def gone(self, connection: "Connection") -> None:
        """The connection's socket is closed."""

    def note(self, event: str, info: dict[str, object]) -> None:
        """Traces an event of a connection."""


class Connection(asyncio.Protocol):
    """One connection to an origin. The pool asks `available`, then calls `start`."""

    http_version = ""

    def __init__(self, pool: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.writable = True  # the socket takes bytes
        self.retiring = False  # carries what it has, and takes no more
        self.closed = False
        self.goodbye = ""  # what the peer said about why it closes
        self.ended_by: TransportError | None = None
        self.left_at = 0.0  # when this side closed it
        self.opened_at = self.heard_at = self.idle_since = loop.time()
        self._flushing = False

    # The pool's side

    @property
    @abstractmethod
    def available(self) -> int:
        """How many calls could start now."""

    @property
    @abstractmethod
    def places(self) -> int | None:
        """How many calls at once it can carry; None while the server has not said so."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """How many calls are on their way."""

    @abstractmethod
    def start(self, exchange: Exchange) -> None:
        """Sends the request. Errors of the request itself are raised."""

    @abstractmethod
    def maintain(self, now: float) -> None:
        """Called every few seconds: is it still alive, is it still wanted?"""

    @abstractmethod
    def exchanges(self) -> list[Exchange]:
        """All that it carries."""

    @abstractmethod
    def flush(self) -> None:
        """Writes what has gathered."""

    def retire(self) -> None:
        """No new calls; closes with its last one."""
        if not self.retiring:
            self.retiring = True
            self.pool.statistics.retired += 1
        if not self.busy:
            self.close()

    def close(self) -> None:
        """Ends it in good order."""
        if not self.closed:
            self.closed = True
            self.flush()
            if self.transport is not None:
                self.transport.close()
            self.pool.remove(self)

    def abort(self, error: TransportError) -> None:
        """Ends it at once; what it carries fails with this error."""
        if not self.closed:
            self.closed = True
            self.ended_by = error
            if not isinstance(error, PoolClosed):
                self.pool.statistics.lost += 1
            self.flush()
            if self.transport is not None:
                # close() and not abort(): a GOAWAY that explains the end should still go out.
                self.transport.close()
            self.pool.remove(self)
        self._drop(error)

    def _drop(self, error: TransportError) -> None:
        for exchange in self.exchanges():
            exchange.carrier = None
            exchange.fail(error.copy())

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        was_open, self.closed = not self.closed, True
        if was_open:
            if exc is not None or self.busy:
                self.pool.statistics.lost += 1
            self.pool.remove(self)
        if self.busy:
            self._lose(exc)
        self.transport = None
        self.pool.gone(self)

    def _lose(self, exc: Exception | None) -> None:
        why = self.goodbye + (f": {exc}" if exc is not None else "")
        self._drop(ConnectionLost(f"{self.pool.origin} closed the connection before the response was complete{why}"))

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def flush_soon(self) -> None:
        """All that one turn of the loop produces leaves in one write, one TLS record, one system call."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()

    def write(self, data: bytes) -> None:
        if data and self.transport is not None and not self.transport.is_closing():
            self.pool.statistics.bytes_sent += len(data)
            self.transport.write(data)
