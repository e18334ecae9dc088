"""Base of the connections of both protocols: batched writes, back-pressure, closing, age."""

import asyncio
from abc import abstractmethod
from typing import Protocol, cast

from transports.http2.errors import ConnectionLost, PoolClosed, TransportError
from transports.http2.exchange import Exchange
from transports.http2.options import PoolOptions
from transports.http2.request import Origin
from transports.http2.sockets import round_trip
from transports.http2.statistics import OriginStatistics

MOST_OF_AN_ERROR = 200  # characters of an error of h2 or h11, which may quote what the peer sent


def shortened(error: Exception) -> str:
    """Returns the text of an error of h2 or h11, cut to a readable length."""
    text = str(error)
    return text if len(text) <= MOST_OF_AN_ERROR else f"{text[:MOST_OF_AN_ERROR]}..."


class ConnectionOwner(Protocol):
    """The part of a pool that its connections use."""

    origin: Origin
    options: PoolOptions
    statistics: OriginStatistics

    def resend(self, exchange: Exchange) -> bool:
        """Queues a call again that the server did not process. False: the call cannot be sent again."""

    def set_stream_limit(self, streams: int) -> None:
        """Receives the number of streams that the server allows on a connection."""

    def remove(self, connection: "Connection") -> None:
        """Takes a connection that is closed, or closing, out of the pool."""

    def socket_closed(self, connection: "Connection") -> None:
        """Takes note that the connection's socket is closed."""

    def trace_event(self, event: str, info: dict[str, object]) -> None:
        """Traces an event of a connection."""


class Connection(asyncio.Protocol):
    """One connection to an origin. The pool reads `available`, then calls `start`."""

    http_version = ""

    def __init__(self, pool: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.writable = True  # the socket takes bytes
        self.retiring = False  # finishes its calls, and takes no more
        self.closed = False
        self.close_reason = ""  # the reason that the peer gave for closing
        self.ended_by: TransportError | None = None
        self.closed_at = 0.0  # time at which this side closed it
        self.opened_at = self.received_at = self.idle_since = loop.time()
        self._flushing = False

    @property
    def round_trip(self) -> float | None:
        """Seconds that the peer's kernel takes to answer, as ours has measured; None where that is not known."""
        found = None if self.transport is None else self.transport.get_extra_info("socket")
        return None if found is None else round_trip(found)

    # --- called by the pool ---

    @property
    @abstractmethod
    def available(self) -> int:
        """Number of calls that could start now."""

    @property
    @abstractmethod
    def capacity(self) -> int | None:
        """Number of concurrent calls that it can carry; None until the server has sent it."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """Number of calls in progress."""

    @abstractmethod
    def start(self, exchange: Exchange) -> None:
        """Sends the request. Raises InvalidRequest for one that cannot be sent."""

    @abstractmethod
    def maintain(self, now: float) -> None:
        """Checks every few seconds whether the connection is alive and still needed."""

    @abstractmethod
    def take_exchanges(self) -> list[Exchange]:
        """Releases and returns all calls that it carries."""

    @abstractmethod
    def flush(self) -> None:
        """Writes the collected bytes to the socket."""

    def retire(self) -> None:
        """Takes no new calls, and closes after the last one."""
        if not self.retiring:
            self.retiring = True
            self.pool.statistics.retired += 1
        if not self.busy:
            self.close()

    def close(self) -> None:
        """Closes the connection in good order."""
        if not self.closed:
            self.closed = True
            self.flush()
            if self.transport is not None:
                self.transport.close()
            self.pool.remove(self)

    def abort(self, error: TransportError) -> None:
        """Closes the connection at once; its calls fail with this error."""
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
        self._fail_exchanges(error)

    def _fail_exchanges(self, error: TransportError) -> None:
        for exchange in self.take_exchanges():
            exchange.connection = None
            exchange.fail(error.copy())

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        was_open, self.closed = not self.closed, True
        if was_open:
            if exc is not None or self.busy:
                self.pool.statistics.lost += 1
            self.pool.remove(self)
        if self.busy:
            self._fail_unfinished(exc)
        self.transport = None
        self.pool.socket_closed(self)

    def _fail_unfinished(self, exc: Exception | None) -> None:
        why = self.close_reason + (f": {exc}" if exc is not None else "")
        self._fail_exchanges(
            ConnectionLost(f"{self.pool.origin} closed the connection before the response was complete{why}")
        )

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def flush_soon(self) -> None:
        """Flushes at the end of the loop's turn: one write, one TLS record, one system call for all of the turn."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()

    def write(self, data: bytes) -> None:
        """Writes bytes to the socket, if it is open."""
        if data and self.transport is not None and not self.transport.is_closing():
            self.pool.statistics.bytes_sent += len(data)
            self.transport.write(data)
