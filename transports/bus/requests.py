"""The serving side: a request, its reply, and the stream of replies with credit."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transports.bus.errors import BusError, CallCancelled
from transports.bus.frames import (
    END,
    ERROR,
    KINDS,
    PART,
    REPLY,
    SEND,
    STREAM,
    Encoded,
    Envelope,
    Kind,
    pack_envelope,
)
from transports.bus.messages import Message

if TYPE_CHECKING:
    from transports.bus.serving import Serving


class Request:
    """What another agent wants. Reply, fail, or open a stream; at once or later."""

    __slots__ = (
        "_on_cancel",
        "_serving",
        "_stream",
        "_tick",
        "cancelled",
        "deadline",
        "done",
        "envelope",
        "member",
        "message",
        "streams",
        "tells",
    )

    def __init__(
        self, serving: "Serving", member: str, envelope: Envelope, message: Message, deadline: float
    ) -> None:
        self._serving = serving
        self.envelope = envelope
        self.message = message
        self._on_cancel: Callable[[str], None] | None = None
        self.cancelled = ""  # why nobody waits any more
        self._stream: ReplyStream | None = None
        self._tick = 0  # of the deadline, once the request outlives its handler
        self.member = member  # id of the member that asks
        self.deadline = deadline or math.inf  # absolute, on this process's time.monotonic()
        kind = envelope.kind
        self.streams = kind == STREAM
        self.tells = self.done = kind == SEND  # nothing is expected back

    @property
    def kind(self) -> Kind:
        return KINDS[self.envelope.kind]

    @property
    def to(self) -> str:
        return self.envelope.to

    @property
    def sender(self) -> str:
        """Who asks: a name if it gave one, else its member's id."""
        return self.envelope.sender or self.member

    @property
    def topic(self) -> str:
        return self.envelope.topic

    @property
    def trace(self) -> str:
        return self.envelope.trace

    @property
    def id(self) -> int:
        return self.envelope.id

    @property
    def payload(self) -> Any:
        """Decoded when first looked at."""
        return self.message.payload

    @property
    def raw(self) -> bytes:
        return self.message.raw

    @property
    def encoded(self) -> Encoded:
        return self.message.encoded

    def remaining(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def reply(self, payload: Any) -> None:
        if self.done:
            raise self._too_late()
        self.done = True
        self._serving.answer(self, REPLY, payload)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        if self.done:
            raise self._too_late()
        self.done = True
        self._serving.answer(self, ERROR, [code, text, detail])

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        """Call `callback(reason)` when the caller cancels or dies, or its deadline passes. At once if that is so already."""
        if self.cancelled:
            callback(self.cancelled)
        else:
            self._on_cancel = callback

    def open_stream(self) -> "ReplyStream":
        if not self.streams:
            raise BusError(f"{self.sender} asked for one reply to {self.to!r}, not for a stream")
        if self._stream is not None or self.done:
            raise BusError("this request is answered already")
        self._stream = ReplyStream(self, self.envelope.count)
        return self._stream

    def _too_late(self) -> BusError:
        return BusError(
            "nothing is expected back for this request" if self.tells else "this request is answered already"
        )

    # --- Serving calls these ---------------------------------------------------------------------------------------
    def cancel(self, reason: str) -> None:
        if self.cancelled:
            return
        self.cancelled = reason
        if self._stream is not None:
            self._stream.cancelled(reason)
        callback, self._on_cancel = self._on_cancel, None
        if callback is not None:
            callback(reason)

    def credit(self, count: int) -> None:
        if self._stream is not None:
            self._stream.more(count)

    def __repr__(self) -> str:
        return f"Request({self.kind.name}, to={self.to!r}, sender={self.sender!r}, topic={self.topic!r}, {len(self.message.body)} bytes)"


class ReplyStream:
    """Parts of an answer, as many at a time as the caller gave credit for. End it, or the caller waits for its deadline."""

    __slots__ = ("_credit", "_envelope", "_request", "_waiters")

    def __init__(self, request: Request, credit: int) -> None:
        self._request = request
        self._envelope = pack_envelope(PART, "", request.to, request.id)  # the same for every part
        self._credit = max(0, min(credit, 1 << 20))
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def send(self, payload: Any) -> None:
        """Send a part when there is credit for it; CallCancelled when nobody wants it any more."""
        while not self.try_send(payload):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def try_send(self, payload: Any) -> bool:
        request = self._request
        if request.cancelled:
            raise CallCancelled(f"{request.sender} no longer wants the stream: {request.cancelled}")
        if request.done:
            raise BusError("this stream has ended")
        if self._credit <= 0:
            return False
        request._serving.part(request, self._envelope, payload)
        self._credit -= 1
        return True

    def end(self) -> None:
        request = self._request
        if request.done:
            raise request._too_late()
        request.done = True
        request._serving.answer(request, END, None)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        self._request.fail(code, text, detail)

    def more(self, count: int) -> None:
        self._credit = min(self._credit + max(0, count), 1 << 20)
        for _ in range(min(self._credit, len(self._waiters))):
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def cancelled(self, reason: str) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # it looks again, and finds out
