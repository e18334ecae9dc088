"""All connections to one origin, and the calls that wait for one.

A call that finds a place starts at once, without waiting for anything. Otherwise it joins a queue, first come first
served, and connections are opened: one alone until it is known what the server speaks and how many streams it takes,
then as many as the queue needs. The connection that frees a place starts the next call itself.
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

GOODBYE = 0.5  # seconds that a closing pool gives its peers to answer TLS's close_notify
LINGER = 5.0  # and that a connection gets that is closed while the pool lives on


class OriginPool:
    """Connections, a queue, and the counters of one origin."""

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
        self._leaving: set[Connection] = set()  # closed by this side; TLS still says goodbye
        self._queue: deque[Exchange] = deque()
        self._dials: set[asyncio.Task[Connection]] = set()
        # How many calls one connection takes; None until the first one told.
        self._places: int | None = None if dialer.may_speak_http2(origin) else 1
        self.closed: PoolClosed | None = None
        self._all_gone: asyncio.Event | None = None

    # Calls

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
                f"{len(self._queue)} calls wait for {self.origin} already; raise waiting_per_origin or call less at once",
                unprocessed=True,
            )
        self.timer.watched.add(exchange)
        exchange.on_queued(connecting=not self._connections)
        self._note(exchange, "request.queued", {"waiting": len(self._queue) + 1})
        self._queue.append(exchange)
        self._open_as_needed()

    def resend(self, exchange: Exchange) -> bool:
        """The server did not process it: first in the queue again, where that is possible."""
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
        self._note(exchange, "request.resent", {"attempt": exchange.attempts + 1})
        self._queue.appendleft(exchange)
        # Not within the event that brought it here: the connection is busy reading.
        self.loop.call_soon(self.serve)
        return True

    def finished(self, exchange: Exchange) -> None:
        self.statistics.completed += 1
        self._over(exchange, "response.complete")

    def failed(self, exchange: Exchange) -> None:
        self.statistics.failed += 1
        self._over(exchange, "request.failed")

    def cancelled(self, exchange: Exchange) -> None:
        self.statistics.cancelled += 1
        if exchange.carrier is not None:
            exchange.carrier.abandon(exchange)
        self._over(exchange, "request.cancelled")

    def _over(self, exchange: Exchange, event: str) -> None:
        self.timer.watched.discard(exchange)
        if exchange.phase in ("pool", "connect"):
            try:
                self._queue.remove(exchange)
            except ValueError:
                pass
        if exchange.trace is not None:
            self._note(exchange, event, {"stream": exchange.stream_id, "received": exchange.received})
        if self._queue:
            self.serve()

    def _start(self, connection: Connection, exchange: Exchange) -> None:
        exchange.attempts += 1
        exchange.phase, exchange.deadline = "write", exchange.until
        connection.start(exchange)
        self.timer.watched.add(exchange)
        if exchange.trace is not None:
            self._note(exchange, "request.sent", {"stream": exchange.stream_id, "version": connection.http_version})

    def serve(self) -> None:
        """Starts what waits, as far as there are places; opens connections for the rest."""
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

    # Connections

    @property
    def has_connections(self) -> bool:
        return bool(self._connections)

    def _free_connection(self) -> Connection | None:
        """The first with a place: calls gather on few connections, so that the others fall idle."""
        for connection in self._connections:
            if connection.available > 0:
                return connection
        return None

    def _open_as_needed(self) -> None:
        dialing = len(self._dials)
        live = sum(not connection.retiring for connection in self._connections)
        if self._places is None:
            wanted = 1 - dialing - live
        else:
            coming = dialing + sum(connection.places is None for connection in self._connections)
            wanted = -(-len(self._queue) // self._places) - coming
        room = self.options.connections_per_origin - dialing - live
        if wanted > 0 and room > 0:
            # A call's own limit ends that call; the attempt goes on for whoever gave it longest.
            limits = [exchange.timeouts.connect for exchange in self._queue]
            within = None if None in limits else max((limit for limit in limits if limit is not None), default=None)
            for _ in range(min(wanted, room)):
                self._dial(within)

    def _dial(self, within: float | None) -> None:
        task = self.loop.create_task(self._open(within))
        self._dials.add(task)
        task.add_done_callback(self._dialed)

    async def _open(self, within: float | None) -> Connection:
        self.note("connection.open", {})
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
            self._not_opened(error)
            return
        connection = task.result()
        if self.closed is not None:
            connection.abort(self.closed)
            return
        self.statistics.opened += 1
        if connection.closed:
            what = f"{self.origin} accepted the connection and closed it at once"
            self._not_opened(connection.ended_by or ConnectFailed(what, unprocessed=True))
            return
        self.note("connection.opened", {"version": connection.http_version})
        self._connections.append(connection)
        if connection.http_version != "HTTP/2":
            self._places = 1
        self.serve()

    def _not_opened(self, error: BaseException) -> None:
        self.note("connection.failed", {"error": str(error)})
        if self._connections or self._dials:
            return  # those that wait have something to wait for
        if isinstance(error, TimedOut):
            # Whoever waited that long is told so by its own deadline; the others try again.
            self.loop.call_soon(self.serve)
        else:
            for exchange in list(self._queue):
                exchange.fail(error.copy() if isinstance(error, TransportError) else error)

    def learned_limit(self, streams: int) -> None:
        """The server said how many streams a connection takes. More connections are no answer to none at all."""
        self._places = streams if streams > 0 else None
        self.serve()

    def remove(self, connection: Connection) -> None:
        """The connection is closed, or closing."""
        if connection.transport is not None:
            connection.left_at = self.loop.time()
            self._leaving.add(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            self.note("connection.closed", {"age": self.loop.time() - connection.opened_at})
            if self._queue:
                self.loop.call_soon(self.serve)

    def gone(self, connection: Connection) -> None:
        """Its socket is closed."""
        self._leaving.discard(connection)
        if self.closed is not None and not self._leaving and self._all_gone is not None:
            self._all_gone.set()

    async def warm(self, within: float | None) -> None:
        """One connection, ready for a call."""
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
        for connection in list(self._connections):
            connection.maintain(now)
        for connection in list(self._leaving):
            # A peer that is dead takes neither the last bytes nor the goodbye.
            if now - connection.left_at >= LINGER and connection.transport is not None:
                connection.transport.abort()

    def snapshot(self) -> OriginStatistics:
        statistics = self.statistics
        statistics.connections = len(self._connections)
        statistics.connecting = len(self._dials)
        statistics.streams = sum(connection.busy for connection in self._connections)
        statistics.waiting = len(self._queue)
        return statistics

    async def close(self, error: PoolClosed) -> None:
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
        if self._leaving:
            self._all_gone = asyncio.Event()
            try:
                await asyncio.wait_for(self._all_gone.wait(), GOODBYE)
            except TimeoutError:
                pass
            for connection in list(self._leaving):
                if connection.transport is not None:
                    connection.transport.abort()

    # Tracing

    def note(self, event: str, info: dict[str, object]) -> None:
        if self._trace is not None:
            self._trace(event, {"origin": str(self.origin), **info})

    def _note(self, exchange: Exchange, event: str, info: dict[str, object]) -> None:
        if exchange.trace is not None:
            exchange.trace(event, {"origin": str(self.origin), **info})
