"""The serving side: a request, its reply, and the stream of replies with credit."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from transports.bus.errors import BusError, CallCancelled
from transports.bus.frames import (
    END,
    ERROR,
    KINDS,
    PART,
    REPLY,
    Encoded,
    Envelope,
    Kind,
    pack_envelope,
)
from transports.bus.messages import Message

if TYPE_CHECKING:
    from transports.bus.asking.serving import Serving


class Request(Struct, eq=False):
    """What another agent wants. Reply, fail, or open a stream; at once or later."""

    serving: "Serving"
    member: str
    """Id of the member that asks."""
    envelope: Envelope
    message: Message
    deadline: float
    """Absolute, on this process's time.monotonic()."""
    trace: str
    streams: bool
    tells: bool
    done: bool
    """Nothing is expected back (any more)."""
    cancelled: str = ""
    """Why nobody waits any more."""
    on_cancelled: Callable[[str], None] | None = None
    stream: "ReplyStream | None" = None
    kept: bool = False
    """It outlived its handler."""
    tick: int = 0
    """Of its deadline, where it is kept."""

    @property
    def kind(self) -> Kind:
        """Whether it is a message (SEND), a question (ASK) or a question for a stream (STREAM)."""
        return KINDS[self.envelope.kind]

    @property
    def to(self) -> str:
        """The name that it was sent to."""
        return self.envelope.to

    @property
    def sender(self) -> str:
        """Who asks: a name if it gave one, else its member's id."""
        return self.envelope.sender or self.member

    @property
    def topic(self) -> str:
        """The topic that the sender gave, or ""."""
        return self.envelope.topic

    @property
    def id(self) -> int:
        """Number of the call at its sender."""
        return self.envelope.id

    @property
    def payload(self) -> Any:
        """Decoded when first looked at."""
        return self.message.payload

    @property
    def raw(self) -> bytes:
        """The payload as msgpack."""
        return self.message.raw

    @property
    def encoded(self) -> Encoded:
        """The payload as msgpack, to pass on as it is."""
        return self.message.encoded

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def reply(self, payload: Any) -> None:
        """Answers the request, once."""
        if self.done:
            raise self._too_late()
        self.done = True
        self.serving.answer(self, REPLY, payload)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        """Answers the request with an error, once."""
        if self.done:
            raise self._too_late()
        self.done = True
        self.serving.answer(self, ERROR, [code, text, detail])

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        """Call `callback(reason)` when the caller cancels or dies, or its deadline passes. At once if that is so already."""
        if self.cancelled:
            callback(self.cancelled)
        else:
            self.on_cancelled = callback

    def open_stream(self) -> "ReplyStream":
        """Begins a stream of replies, where the caller asked for one."""
        if not self.streams:
            raise BusError(f"{self.sender} asked for one reply to {self.to!r}, not for a stream")
        if self.stream is not None or self.done:
            raise BusError("this request is answered already")
        self.stream = ReplyStream(self, self.envelope.count)
        return self.stream

    def _too_late(self) -> BusError:
        return BusError(
            "nothing is expected back for this request" if self.tells else "this request is answered already"
        )

    # --- Serving calls these ---------------------------------------------------------------------------------------
    def cancel(self, reason: str) -> None:
        """Tells the handler that nobody waits any more. The bus calls this."""
        if self.cancelled:
            return
        self.cancelled = reason
        if self.stream is not None:
            self.stream.cancelled(reason)
        callback, self.on_cancelled = self.on_cancelled, None
        if callback is not None:
            callback(reason)

    def credit(self, count: int) -> None:
        """Passes credit on to the stream. The bus calls this."""
        if self.stream is not None:
            self.stream.more(count)

    def __repr__(self) -> str:
        return f"Request({self.kind.name}, to={self.to!r}, sender={self.sender!r}, topic={self.topic!r}, {len(self.message.body)} bytes)"


_MOST_CREDIT = 1 << 20


class ReplyStream:
    """Parts of an answer, as many at a time as the caller gave credit for. End it, or the caller waits for its deadline.

    Another thread than the loop's may send parts too (`at_once`), as long as the loop sends none meanwhile: what was granted and
    what was sent are counted apart, each by one thread at a time.
    """

    __slots__ = ("_envelope", "_granted", "_request", "_sent", "_waiters")

    def __init__(self, request: Request, credit: int) -> None:
        self._request = request
        self._envelope = pack_envelope(PART, "", request.to, request.id)  # the same for every part
        self._granted, self._sent = max(0, min(credit, _MOST_CREDIT)), 0
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
        """Sends a part if there is credit for it; False where there is none."""
        request = self._request
        if request.cancelled:
            raise CallCancelled(f"{request.sender} no longer wants the stream: {request.cancelled}")
        if request.done:
            raise BusError("this stream has ended")
        if self._sent >= self._granted:
            return False
        request.serving.part(request, self._envelope, payload)
        self._sent += 1
        return True

    def at_once(self, body: bytes) -> bool:
        """From another thread. False: nobody wants it any more, there is no credit or no room, or it is large: the loop's to decide."""
        request = self._request
        if request.cancelled or request.done or self._sent >= self._granted:
            return False
        if not request.serving.at_once(request.member, self._envelope, body):
            return False
        self._sent += 1
        return True

    def end(self) -> None:
        """Ends the stream; the caller has all of it."""
        request = self._request
        if request.done:
            raise request._too_late()
        request.done = True
        request.serving.answer(request, END, None)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        """Ends the stream with an error for the caller."""
        self._request.fail(code, text, detail)

    def more(self, count: int) -> None:
        """Takes in credit from the caller. The bus calls this."""
        self._granted = min(self._granted + max(0, count), self._sent + _MOST_CREDIT)
        for _ in range(min(self._granted - self._sent, len(self._waiters))):
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def cancelled(self, reason: str) -> None:
        """Wakes who waits to send: the caller has left. The bus calls this."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # it looks again, and finds out
