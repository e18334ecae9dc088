"""Connections to one origin, and the queue of calls that wait for one.

A call starts at once on a connection with a free stream. Otherwise the call joins a queue, first come first served, and
connections are opened: a single one until the server's protocol and number of streams are known, then as many as the
queue needs. The end of a call starts the next call of the queue.
"""

import asyncio
from collections import deque

from transports.http2.connection import Connection
from transports.http2.deadlines import DeadlineTimer
from transports.http2.dial import Dialer
from transports.http2.errors import ConnectFailed, PoolClosed, PoolFull, TimedOut, TransportError
from transports.http2.exchange import MAX_ATTEMPTS, Exchange
from transports.http2.options import PoolOptions
from transports.http2.request import Origin
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace

CLOSE_WITHIN = 0.5  # seconds that a closing pool gives its peers to answer TLS's close_notify
ABORT_AFTER = 5.0  # seconds that a connection gets for it while the pool goes on


class OriginPool:
    """Connections, queue and counters of one origin."""

    def __init__(
        self, origin: Origin, options: PoolOptions, dialer: Dialer, timer: DeadlineTimer, trace: Trace | None
    ) -> None:
        self.origin = origin
        self.options = options
        self.timer = timer
        self.statistics = OriginStatistics()
        self._dialer = dialer
        self._trace = trace
        self.loop = asyncio.get_running_loop()
        self._connections: list[Connection] = []
        self._closing: set[Connection] = set()  # closed by this side, until the socket is closed
        self._queue: deque[Exchange] = deque()
        self._dials: set[asyncio.Task[Connection]] = set()
        # Number of calls that one connection takes; None until the first connection knows.
        self._capacity: int | None = None if dialer.may_speak_http2(origin) else 1
        self.closed: PoolClosed | None = None
        self._all_closed: asyncio.Event | None = None

    # --- calls ---

    def submit(self, exchange: Exchange) -> None:
        """Starts the call, or queues it. Errors of the request itself are raised here."""
        self.statistics.requests += 1
        if self.closed is not None:
            raise self.closed.copy()
        if not self._queue:
            connection = self._free_connection()
            if connection is not None:
                self._start(connection, exchange)
                return
        if len(self._queue) >= self.options.waiting_per_origin:
            raise PoolFull(
                f"{len(self._queue)} calls wait for {self.origin} already; "
                "raise waiting_per_origin or call less at once",
                unprocessed=True,
            )
        self.timer.watched.add(exchange)
        exchange.on_queued(connecting=not self._connections)
        self._trace_exchange(exchange, "request.queued", {"waiting": len(self._queue) + 1})
        self._queue.append(exchange)
        self._open_as_needed()

    def resend(self, exchange: Exchange) -> bool:
        """Puts a call that the server did not process back to the front of the queue.

        False: the call cannot be sent again.
        """
        if (
            self.closed is not None
            or exchange.status
            or exchange.attempts >= MAX_ATTEMPTS
            or not isinstance(exchange.request.body, bytes)
        ):
            return False
        exchange.body_left = None
        exchange.on_queued(connecting=False)
        self.statistics.resent += 1
        self._trace_exchange(exchange, "request.resent", {"attempt": exchange.attempts + 1})
        self._queue.appendleft(exchange)
        # In the next turn, because the connection is in the middle of a read.
        self.loop.call_soon(self.start_waiting)
        return True

    def finished(self, exchange: Exchange) -> None:
        """Counts a call whose response is complete."""
        self.statistics.completed += 1
        self._forget(exchange, "response.complete")

    def failed(self, exchange: Exchange) -> None:
        """Counts a call that ended with an error."""
        self.statistics.failed += 1
        self._forget(exchange, "request.failed")

    def cancelled(self, exchange: Exchange) -> None:
        """Ends a call that its caller has left."""
        self.statistics.cancelled += 1
        if exchange.connection is not None:
            exchange.connection.abandon(exchange)
        self._forget(exchange, "request.cancelled")

    def _forget(self, exchange: Exchange, event: str) -> None:
        self.timer.watched.discard(exchange)
        if exchange.phase in ("pool", "connect"):
            try:
                self._queue.remove(exchange)
            except ValueError:
                pass
        if exchange.trace is not None:
            self._trace_exchange(exchange, event, {"stream": exchange.stream_id, "received": exchange.received})
        if self._queue:
            self.start_waiting()

    def _start(self, connection: Connection, exchange: Exchange) -> None:
        exchange.attempts += 1
        exchange.phase, exchange.deadline = "write", exchange.until
        connection.start(exchange)
        self.timer.watched.add(exchange)
        if exchange.trace is not None:
            sent = {
                "stream": exchange.stream_id,
                "version": connection.http_version,
                "round_trip": connection.round_trip,
            }
            self._trace_exchange(exchange, "request.sent", sent)

    def start_waiting(self) -> None:
        """Starts waiting calls on free streams; opens connections for the rest."""
        queue = self._queue
        while queue:
            connection = self._free_connection()
            if connection is None:
                self._open_as_needed()
                return
            exchange = queue.popleft()
            try:
                self._start(connection, exchange)
            except TransportError as error:
                exchange.fail(error)

    # --- connections ---

    @property
    def has_connections(self) -> bool:
        """Whether any connection is open."""
        return bool(self._connections)

    def _free_connection(self) -> Connection | None:
        """Returns the first connection with a free stream: calls gather on few connections, the others become idle."""
        for connection in self._connections:
            if connection.available > 0:
                return connection
        return None

    def _open_as_needed(self) -> None:
        dialing = len(self._dials)
        live = sum(not connection.retiring for connection in self._connections)
        if self._capacity is None:
            wanted = 1 - dialing - live
        else:
            coming = dialing + sum(connection.capacity is None for connection in self._connections)
            wanted = -(-len(self._queue) // self._capacity) - coming
        room = self.options.connections_per_origin - dialing - live
        if wanted > 0 and room > 0:
            # The deadline of a call ends that call alone; the attempt lasts as long as the most patient call.
            limits = [exchange.timeouts.connect for exchange in self._queue]
            within = None if None in limits else max((limit for limit in limits if limit is not None), default=None)
            for _ in range(min(wanted, room)):
                self._dial(within)

    def _dial(self, within: float | None) -> None:
        task = self.loop.create_task(self._open(within))
        self._dials.add(task)
        task.add_done_callback(self._dialed)

    async def _open(self, within: float | None) -> Connection:
        self.trace_event("connection.open", {})
        connection = await self._dialer.dial(self, within)
        if connection.closed:
            raise ConnectFailed(f"{self.origin} accepted the connection and closed it at once", unprocessed=True)
        return connection

    def _dialed(self, task: asyncio.Task[Connection]) -> None:
        self._dials.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._dial_failed(error)
            return
        connection = task.result()
        if self.closed is not None:
            connection.abort(self.closed)
            return
        self.statistics.opened += 1
        if connection.closed:
            what = f"{self.origin} accepted the connection and closed it at once"
            self._dial_failed(connection.ended_by or ConnectFailed(what, unprocessed=True))
            return
        self.trace_event("connection.opened", {"version": connection.http_version})
        self._connections.append(connection)
        if connection.http_version != "HTTP/2":
            self._capacity = 1
        self.start_waiting()

    def _dial_failed(self, error: BaseException) -> None:
        self.trace_event("connection.failed", {"error": str(error)})
        if self._connections or self._dials:
            return  # waiting calls have another connection to wait for
        if isinstance(error, TimedOut):
            # A call that waited as long fails by its own deadline; the others try again.
            self.loop.call_soon(self.start_waiting)
        else:
            for exchange in list(self._queue):
                exchange.fail(error.copy() if isinstance(error, TransportError) else error)

    def set_stream_limit(self, streams: int) -> None:
        """Receives the number of streams that the server allows. With none at all, more connections would not help."""
        self._capacity = streams if streams > 0 else None
        self.start_waiting()

    def remove(self, connection: Connection) -> None:
        """Takes a connection that is closed, or closing, out of the pool."""
        if connection.transport is not None:
            connection.closed_at = self.loop.time()
            self._closing.add(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            self.trace_event("connection.closed", {"age": self.loop.time() - connection.opened_at})
            if self._queue:
                self.loop.call_soon(self.start_waiting)

    def socket_closed(self, connection: Connection) -> None:
        """Takes note that a connection's socket is closed."""
        self._closing.discard(connection)
        if self.closed is not None and not self._closing and self._all_closed is not None:
            self._all_closed.set()

    async def warm(self, within: float | None) -> None:
        """Opens a connection ahead of the first call. `within`: seconds; None for no limit."""
        if not self._connections and not self._dials:
            self._dial(within)
        while not self._connections:
            dials = list(self._dials)
            if not dials:
                raise ConnectFailed(f"no connection to {self.origin}", unprocessed=True)
            done, _ = await asyncio.wait(dials)
            for task in done:
                task.result()

    def maintain(self, now: float) -> None:
        """Checks all connections, and aborts those whose peer does not close."""
        for connection in list(self._connections):
            connection.maintain(now)
        for connection in list(self._closing):
            # A dead peer takes neither the last bytes nor the end of TLS.
            if now - connection.closed_at >= ABORT_AFTER and connection.transport is not None:
                connection.transport.abort()

    def snapshot(self) -> OriginStatistics:
        """Counters of the origin, with the current values."""
        statistics = self.statistics
        statistics.connections = len(self._connections)
        statistics.connecting = len(self._dials)
        statistics.streams = sum(connection.busy for connection in self._connections)
        statistics.waiting = len(self._queue)
        return statistics

    async def close(self, error: PoolClosed) -> None:
        """Closes all connections; calls in progress fail with the error."""
        self.closed = error
        dials = list(self._dials)
        for task in dials:
            task.cancel()
        for exchange in list(self._queue):
            exchange.fail(error.copy())
        for connection in list(self._connections):
            if connection.busy:
                connection.abort(error)
            else:
                connection.close()
        if dials:
            await asyncio.wait(dials)
        if self._closing:
            self._all_closed = asyncio.Event()
            try:
                await asyncio.wait_for(self._all_closed.wait(), CLOSE_WITHIN)
            except TimeoutError:
                pass
            for connection in list(self._closing):
                if connection.transport is not None:
                    connection.transport.abort()

    # --- tracing ---

    def trace_event(self, event: str, info: dict[str, object]) -> None:
        """Traces an event of a connection."""
        if self._trace is not None:
            self._trace(event, {"origin": str(self.origin), **info})

    def _trace_exchange(self, exchange: Exchange, event: str, info: dict[str, object]) -> None:
        if exchange.trace is not None:
            exchange.trace(event, {"origin": str(self.origin), **info})
