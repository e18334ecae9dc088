"""One call on its way: the meeting point of the caller, who awaits, and a connection, which never waits.

    queued ──> sent ──> head ──> ended
       ^         │        └────> failed       the caller leaves early: cancelled, from any state
       └─────────┘ the server did not process it

The caller's side is three coroutines: `head()`, `chunk()` and `whole()`. The connection's side is plain calls:
`on_head`, `on_data`, `on_end`, `fail`. Between them lies one buffer, bounded by the stream's flow-control window, and
one future. Each wait has a deadline, which the pool's one timer watches.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import Protocol

from transports.http2.deadlines import NEVER, DeadlineTimer
from transports.http2.errors import InvalidRequest, LimitExceeded, Phase, TimedOut, TransportError
from transports.http2.request import Header, Headers, Origin, Request, Timeouts
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace

MAX_ATTEMPTS = 4  # the first, and three more where the server did not process one


class Carrier(Protocol):
    """What an exchange needs of the connection that carries it."""

    http_version: str

    def send(self, exchange: "Exchange", data: memoryview) -> int:
        """Sends as much of a body as can go now. Where that is not all, `exchange.resume_upload` is called later."""

    def end(self, exchange: "Exchange") -> None:
        """The body is complete."""

    def consumed(self, exchange: "Exchange", size: int) -> None:
        """The caller took bytes: the peer may send as many more."""

    def abandon(self, exchange: "Exchange") -> None:
        """The caller has left: tell the peer now, and free the place."""


class CallSource(Protocol):
    """What an exchange needs of the pool that made it."""

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
        """The response is complete."""

    def failed(self, exchange: "Exchange") -> None:
        """The call ended with an error."""

    def cancelled(self, exchange: "Exchange") -> None:
        """The caller has left before the end."""


class Exchange:
    """One call. Made by the pool, moved along by a connection."""

    __slots__ = (
        "attempts",
        "body_left",
        "carrier",
        "chunks",
        "deadline",
        "ended",
        "error",
        "headers",
        "http_version",
        "loop",
        "max_bytes",
        "phase",
        "pool_deadline",
        "reason",
        "received",
        "request",
        "size",
        "source",
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

    def __init__(self, source: CallSource, request: Request, timeouts: Timeouts, trace: Trace | None) -> None:
        self.loop = source.loop
        self.source = source
        self.request = request
        self.timeouts = timeouts
        self.trace = trace
        self.carrier: Carrier | None = None
        self.attempts = 0
        self.stream_id = 0
        # What is left to send of a body of bytes, and the task that sends an async iterator.
        self.body_left: memoryview | None = None
        self.uploader: asyncio.Task[None] | None = None
        self.upload_waiter: asyncio.Future[None] | None = None
        # The response.
        self.status = 0
        self.reason = b""  # the words after the status; HTTP/2 has none
        self.http_version = ""
        self.headers: Headers = ()
        self.trailers: list[Header] = []
        self.chunks: list[bytes] = []
        self.size = 0  # of what lies in chunks
        self.received = 0  # bytes of body in all
        self.unacknowledged = 0  # taken by the caller, not yet told to the peer
        self.ended = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None
        # Whole: the caller is woken once, at the end; at most that many bytes are held.
        self.whole_body = False
        self.max_bytes = 0
        self.phase: Phase = "pool"
        self.until = NEVER  # the limit of the whole call; no limit of a part of it is later
        self.deadline = NEVER
        self.pool_deadline = NEVER

    # The caller's side

    async def head(self) -> None:
        """Returns when status and headers are here."""
        while not self.status:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def chunk(self) -> bytes:
        """What has arrived since the last time, or b"" at the end."""
        while True:
            if self.chunks:
                return self._take()
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
        """The whole body."""
        while not self.ended:
            if self.error is not None:
                raise self.error
            await self._wait()
        return self._take()

    @property
    def over(self) -> bool:
        """It has ended, well or badly."""
        return self.ended or self.error is not None

    @property
    def backlog(self) -> int:
        """Bytes that wait for a slow caller."""
        return 0 if self.whole_body else self.size

    def cancel(self) -> None:
        """The caller is done with it, whatever has come so far. Nothing is awaited."""
        if not self.over:
            self.error = TransportError("the response was closed before its end")
            self._stop_upload()
            self.source.cancelled(self)
            self._wake()  # whoever waits for more in another task hears that there is none
        self.chunks.clear()
        self.size = 0

    def _take(self) -> bytes:
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.size = 0
        if not self.ended and self.carrier is not None:
            self.carrier.consumed(self, len(data))
        return data

    async def _wait(self) -> None:
        if self.waiter is not None:
            raise InvalidRequest("another task waits for this response already; read it from one task")
        self.waiter = self.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def upload(self, carrier: Carrier, body: AsyncIterable[bytes]) -> None:
        """A body from an async iterator: the next piece is asked for when the one before it has gone out."""
        try:
            async for piece in body:
                left = memoryview(piece)
                while left:
                    left = left[carrier.send(self, left) :]
                    if left:
                        self.on_sending()
                        self.upload_waiter = self.loop.create_future()
                        await self.upload_waiter
                        if not self.status:
                            self.deadline = self.until
            carrier.end(self)
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterator raises is the caller's to see
            self.give_up(error)

    def _stop_upload(self) -> None:
        uploader, self.uploader = self.uploader, None
        if uploader is not None and uploader is not asyncio.current_task(self.loop):
            uploader.cancel()

    def resume_upload(self) -> None:
        if self.upload_waiter is not None and not self.upload_waiter.done():
            self.upload_waiter.set_result(None)

    # The connection's side

    def on_sent(self) -> None:
        """The request is out; the server's turn."""
        if not self.status:
            self._set_deadline("first_byte", self.timeouts.first_byte)

    def on_sending(self) -> None:
        """A part of the body is out and the rest waits for the peer."""
        if not self.status:
            self._set_deadline("write", self.timeouts.write)

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        if self.carrier is not None:
            self.http_version = self.carrier.http_version
        if self.trace is not None:
            self.trace("response.head", {"status": status, "stream": self.stream_id})
        if self.whole_body:
            self._set_deadline("idle", self.timeouts.idle)
        else:
            self.deadline = self.until
            self._wake()

    def on_data(self, data: bytes) -> None:
        self.received += len(data)
        self.chunks.append(data)
        self.size += len(data)
        if self.whole_body:
            if self.received > self.max_bytes:
                self.give_up(LimitExceeded(f"the body of the response is longer than {self.max_bytes} bytes"))
                return
            self._set_deadline("idle", self.timeouts.idle)
            if self.carrier is not None:
                self.carrier.consumed(self, len(data))
        else:
            self._wake()

    def on_end(self) -> None:
        self.ended = True
        self.deadline = NEVER
        self._stop_upload()
        self.source.finished(self)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """The call ends with an error; the connection has let go of it already."""
        if self.over:
            return
        self.error = error
        self.deadline = NEVER
        self._stop_upload()
        self.source.failed(self)
        self._wake()

    def give_up(self, error: BaseException) -> None:
        """This side ends the call while the connection still carries it."""
        if self.carrier is not None:
            self.carrier.abandon(self)
        self.fail(error)

    # Deadlines

    def _set_deadline(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        if seconds is None:
            self.deadline = self.until
        else:
            self.deadline = deadline = min(self.loop.time() + seconds, self.until)
            self.source.timer.heed(deadline)

    def on_queued(self, *, connecting: bool) -> None:
        """It waits for a place. While there is no connection at all, the limit for connecting holds too."""
        now = self.loop.time()
        pool, connect = self.timeouts.pool, self.timeouts.connect
        self.pool_deadline = NEVER if pool is None else now + pool
        self.phase, self.deadline = "pool", self.pool_deadline
        if connecting and connect is not None and now + connect <= self.deadline:
            self.phase, self.deadline = "connect", now + connect
        if self.until < self.deadline:
            self.deadline = self.until
        if self.deadline != NEVER:
            self.source.timer.heed(self.deadline)

    def expire(self, now: float) -> None:
        if self.over:
            self.deadline = NEVER
            return
        if now >= self.until:
            self.source.statistics.timed_out += 1
            message = f"{EXPIRED['total']} in the time allowed ({self.source.origin})"
            self.give_up(TimedOut(message, phase="total"))
            return
        if self.phase == "connect" and self.source.has_connections and now < self.pool_deadline:
            self.phase, self.deadline = "pool", min(self.pool_deadline, self.until)
            return
        limit = getattr(self.timeouts, self.phase)
        message = f"{EXPIRED[self.phase]} within {limit:g} s ({self.source.origin})"
        self.source.statistics.timed_out += 1
        self.give_up(TimedOut(message, phase=self.phase, unprocessed=self.phase in ("connect", "pool")))


EXPIRED: dict[Phase, str] = {
    "connect": "no connection",
    "pool": "no free connection",
    "write": "the server took no more of the request's body",
    "first_byte": "no response began",
    "idle": "no more of the response came",
    "total": "the response was not complete",
}
