"""Exchange: the state of one call, between the caller, which awaits, and a connection, which never waits.

    queued ──> sent ──> head ──> ended
       ^         │        └────> failed       the caller leaves early: cancelled, from any state
       └─────────┘ the server did not process it

The caller awaits three coroutines: `head()`, `chunk()` and `whole()`. The connection calls plain methods: `on_head`,
`on_data`, `on_end`, `fail`. Between them are one buffer, bounded by the stream's flow-control window, and one future.
Each wait has a deadline, and one timer of the pool watches all deadlines.

A caller that has no task to wait in sets `listener` instead: it is called where a task would wake, and takes what there
is with `take()`.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Protocol

from transports.http2.deadlines import NEVER, DeadlineTimer
from transports.http2.errors import InvalidRequest, LimitExceeded, Phase, TimedOut, TransportError
from transports.http2.request import Header, Headers, Origin, Request, Timeouts
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace

MAX_ATTEMPTS = 4  # the first, and three more if the server does not process it


class ExchangeConnection(Protocol):
    """The part of a connection that an exchange uses."""

    http_version: str

    def send(self, exchange: "Exchange", data: memoryview) -> int:
        """Sends as much of a body as possible now. After less than all, `exchange.resume_upload` is called later."""

    def end(self, exchange: "Exchange") -> None:
        """Ends the body."""

    def consumed(self, exchange: "Exchange", size: int) -> None:
        """Allows the peer to send as many bytes as the caller has taken."""

    def abandon(self, exchange: "Exchange") -> None:
        """Cancels the call at the peer now, because the caller has left, and frees the stream."""


class ExchangePool(Protocol):
    """The part of a pool that an exchange uses."""

    loop: asyncio.AbstractEventLoop
    origin: Origin
    timer: DeadlineTimer
    statistics: OriginStatistics

    @property
    def has_connections(self) -> bool:
        """Whether any connection to the origin is open."""

    def submit(self, exchange: "Exchange") -> None:
        """Starts the call, or queues it."""

    def finished(self, exchange: "Exchange") -> None:
        """Counts a call whose response is complete."""

    def failed(self, exchange: "Exchange") -> None:
        """Counts a call that ended with an error."""

    def cancelled(self, exchange: "Exchange") -> None:
        """Ends a call that its caller has left."""


class Exchange:
    """One call: made by the pool, advanced by a connection, awaited by the caller."""

    __slots__ = (
        "attempts",
        "body_left",
        "chunks",
        "connection",
        "deadline",
        "ended",
        "error",
        "headers",
        "http_version",
        "listener",
        "loop",
        "max_bytes",
        "phase",
        "pool",
        "pool_deadline",
        "reason",
        "received",
        "request",
        "size",
        "status",
        "stream_id",
        "timeouts",
        "trace",
        "trailers",
        "unacknowledged",
        "until",
        "upload_waiter",
        "uploader",
        "waiter",
        "whole_body",
    )

    def __init__(self, pool: ExchangePool, request: Request, timeouts: Timeouts, trace: Trace | None) -> None:
        self.loop = pool.loop
        self.pool = pool
        self.request = request
        self.timeouts = timeouts
        self.trace = trace
        self.connection: ExchangeConnection | None = None
        self.attempts = 0
        self.stream_id = 0
        # The unsent rest of a body of bytes, or the task that sends an async iterator.
        self.body_left: memoryview | None = None
        self.uploader: asyncio.Task[None] | None = None
        self.upload_waiter: asyncio.Future[None] | None = None
        # The response.
        self.status = 0
        self.reason = b""  # reason phrase of HTTP/1.1
        self.http_version = ""
        self.headers: Headers = ()
        self.trailers: list[Header] = []
        self.chunks: list[bytes] = []
        self.size = 0  # bytes in chunks
        self.received = 0  # bytes of body in all
        self.unacknowledged = 0  # bytes taken by the caller, not yet given back to the peer's window
        self.ended = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.listener: Callable[[], None] | None = None
        # A whole body wakes the caller once, at the end, and holds at most `max_bytes`.
        self.whole_body = False
        self.max_bytes = 0
        self.phase: Phase = "pool"
        self.until = NEVER  # the limit of the whole call; no limit of a part of it is later
        self.deadline = NEVER
        self.pool_deadline = NEVER

    # The caller's side

    async def head(self) -> None:
        """Waits for status and headers."""
        while not self.status:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def chunk(self) -> bytes:
        """Waits for more of the body, and returns all that has arrived since the last call; b"" at the end."""
        while True:
            if self.chunks:
                return self._take_chunks()
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            self._set_deadline("idle", self.timeouts.idle)
            try:
                await self._wait()
            finally:
                self.deadline = self.until

    async def whole(self) -> bytes:
        """Waits for the whole body."""
        while not self.done:
            await self._wait()
        return self.take()

    def take(self) -> bytes:
        """All that has arrived since the last call. Raises the error of a call that failed, once nothing is left."""
        if self.error is not None and (self.whole_body or not self.chunks):
            raise self.error
        return self._take_chunks()

    @property
    def done(self) -> bool:
        """Whether the call has ended, with or without an error."""
        return self.ended or self.error is not None

    @property
    def backlog(self) -> int:
        """Bytes that a slow caller has not taken yet."""
        return 0 if self.whole_body else self.size

    def cancel(self) -> None:
        """Ends the call for a caller that has left. Nothing is awaited."""
        self.listener = None
        if not self.done:
            self.error = TransportError("the response was closed before its end")
            self._stop_upload()
            self.pool.cancelled(self)
            self._wake_reader()  # a task that waits for more fails
        self.chunks.clear()
        self.size = 0

    def _take_chunks(self) -> bytes:
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.size = 0
        if not self.ended and self.connection is not None:
            self.connection.consumed(self, len(data))
        return data

    async def _wait(self) -> None:
        if self.waiter is not None:
            raise InvalidRequest("another task waits for this response already; read it from one task")
        self.waiter = self.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def _wake_reader(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        elif self.listener is not None:
            self.listener()

    async def upload(self, connection: ExchangeConnection, body: AsyncIterable[bytes]) -> None:
        """Sends a body from an async iterator. The next piece is taken after the piece before it has been sent."""
        try:
            async for piece in body:
                left = memoryview(piece)
                while left:
                    left = left[connection.send(self, left) :]
                    if left:
                        self.on_sending()
                        self.upload_waiter = self.loop.create_future()
                        await self.upload_waiter
                        if not self.status:
                            self.deadline = self.until
            connection.end(self)
        except Exception as error:  # noqa: BLE001 - an error of the caller's iterator is raised to the caller
            self.give_up(error)

    def _stop_upload(self) -> None:
        uploader, self.uploader = self.uploader, None
        if uploader is not None and uploader is not asyncio.current_task(self.loop):
            uploader.cancel()

    def resume_upload(self) -> None:
        """Wakes the upload: the connection takes bytes again."""
        if self.upload_waiter is not None and not self.upload_waiter.done():
            self.upload_waiter.set_result(None)

    # --- called by the connection ---

    def on_sent(self) -> None:
        """Starts the wait for the head: the whole request has been sent."""
        if not self.status:
            self._set_deadline("first_byte", self.timeouts.first_byte)

    def on_sending(self) -> None:
        """Starts the write deadline: a part of the body has been sent, and the rest waits for the peer."""
        if not self.status:
            self._set_deadline("write", self.timeouts.write)

    def on_head(self, status: int, headers: Headers) -> None:
        """Receives the head of the response."""
        self.status = status
        self.headers = headers
        if self.connection is not None:
            self.http_version = self.connection.http_version
        if self.trace is not None:
            self.trace("response.head", {"status": status, "stream": self.stream_id})
        if self.whole_body:
            self._set_deadline("idle", self.timeouts.idle)
        else:
            self.deadline = self.until
            self._wake_reader()

    def on_data(self, data: bytes) -> None:
        """Receives a piece of the body."""
        self.received += len(data)
        self.chunks.append(data)
        self.size += len(data)
        if self.whole_body:
            if self.received > self.max_bytes:
                self.give_up(LimitExceeded(f"the body of the response is longer than {self.max_bytes} bytes"))
                return
            self._set_deadline("idle", self.timeouts.idle)
            if self.connection is not None:
                self.connection.consumed(self, len(data))
        else:
            self._wake_reader()

    def on_end(self) -> None:
        """Ends the call: the response is complete."""
        self.ended = True
        self.deadline = NEVER
        self._stop_upload()
        self.pool.finished(self)
        self._wake_reader()

    def fail(self, error: BaseException) -> None:
        """Ends the call with an error, after the connection has released it."""
        if self.done:
            return
        self.error = error
        self.deadline = NEVER
        self._stop_upload()
        self.pool.failed(self)
        self._wake_reader()

    def give_up(self, error: BaseException) -> None:
        """Ends the call with an error while the connection still carries it."""
        if self.connection is not None:
            self.connection.abandon(self)
        self.fail(error)

    # --- deadlines ---

    def _set_deadline(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        if seconds is None:
            self.deadline = self.until
        else:
            self.deadline = deadline = min(self.loop.time() + seconds, self.until)
            self.pool.timer.heed(deadline)

    def on_queued(self, *, connecting: bool) -> None:
        """Starts the wait for a free stream. With no connection at all, the limit for connecting applies too."""
        now = self.loop.time()
        pool, connect = self.timeouts.pool, self.timeouts.connect
        self.pool_deadline = NEVER if pool is None else now + pool
        self.phase, self.deadline = "pool", self.pool_deadline
        if connecting and connect is not None and now + connect <= self.deadline:
            self.phase, self.deadline = "connect", now + connect
        if self.until < self.deadline:
            self.deadline = self.until
        if self.deadline != NEVER:
            self.pool.timer.heed(self.deadline)

    def expire(self, now: float) -> None:
        """Ends the call after its deadline, or moves the deadline on to the next limit."""
        if self.done:
            self.deadline = NEVER
            return
        if now >= self.until:
            self.pool.statistics.timed_out += 1
            message = f"{EXPIRED['total']} in the time allowed ({self.pool.origin})"
            self.give_up(TimedOut(message, phase="total"))
            return
        if self.phase == "connect" and self.pool.has_connections and now < self.pool_deadline:
            self.phase, self.deadline = "pool", min(self.pool_deadline, self.until)
            return
        limit = getattr(self.timeouts, self.phase)
        message = f"{EXPIRED[self.phase]} within {limit:g} s ({self.pool.origin})"
        self.pool.statistics.timed_out += 1
        self.give_up(TimedOut(message, phase=self.phase, unprocessed=self.phase in ("connect", "pool")))


EXPIRED: dict[Phase, str] = {
    "connect": "no connection",
    "pool": "no free connection",
    "write": "the server took no more of the request's body",
    "first_byte": "no response began",
    "idle": "no more of the response came",
    "total": "the response was not complete",
}
