"""Requests, as the serving side sees them: reply to one, fail it, or answer it with a stream of replies."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

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


class Answers(Protocol):
    """Sends the answers to requests; `Serving` does."""

    at_once: Callable[[str, bytes, bytes], bool]
    """Sends (member, envelope, body) from any thread; False if that would have to wait."""

    def answer(self, request: "Request", kind: int, payload: Any) -> None:
        """Send the reply to a request, its error, or the end of its stream."""
        ...

    def part(self, request: "Request", envelope: bytes, payload: Any) -> None:
        """Send one part of the stream of a request."""
        ...


class Request(Struct, eq=False):
    """A request from another member. Reply, fail, or open a stream; in the handler or later."""

    serving: Answers
    """Sends the answers."""
    member: str
    """Id of the member that asks."""
    envelope: Envelope
    """Envelope of the request."""
    message: Message
    """Message that carries the payload."""
    deadline: float
    """Absolute deadline, on this process's time.monotonic()."""
    trace: str
    """Trace context that the caller gave, or ""."""
    streams: bool
    """Whether the caller wants a stream."""
    tells: bool
    """Whether the caller wants no answer at all."""
    done: bool
    """Whether an answer is no longer wanted, or never was."""
    cancelled: str = ""
    """Reason why the caller no longer waits, or ""."""
    on_cancelled: Callable[[str], None] | None = None
    """Callback for that reason."""
    stream: "ReplyStream | None" = None
    """Stream that `open_stream` has opened."""
    kept: bool = False
    """Whether it was unanswered when its handler returned."""
    tick: int = 0
    """Tick of its deadline, if it is kept."""

    @property
    def kind(self) -> Kind:
        """SEND, ASK or STREAM."""
        return KINDS[self.envelope.kind]

    @property
    def to(self) -> str:
        """Name, or id of a member, that the request is for."""
        return self.envelope.to

    @property
    def sender(self) -> str:
        """Name that the caller gave, or else the id of its member."""
        return self.envelope.sender or self.member

    @property
    def topic(self) -> str:
        """Topic that the caller gave, or ""."""
        return self.envelope.topic

    @property
    def id(self) -> int:
        """Number of the request among those of its member."""
        return self.envelope.id

    @property
    def payload(self) -> Any:
        """The payload, decoded when it is first read."""
        return self.message.payload

    @property
    def raw(self) -> bytes:
        """The payload as msgpack."""
        return self.message.raw

    @property
    def encoded(self) -> Encoded:
        """The payload as it came, to be passed on without decoding it."""
        return self.message.encoded

    def remaining(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    def reply(self, payload: Any) -> None:
        """Send the reply; once."""
        if self.done:
            raise self._too_late()
        self.done = True
        self.serving.answer(self, REPLY, payload)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        """Send an error instead of a reply: the caller's call raises it."""
        if self.done:
            raise self._too_late()
        self.done = True
        self.serving.answer(self, ERROR, [code, text, detail])

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        """Call `callback(reason)` when the caller cancels or dies, or its deadline passes; now, if it already has."""
        if self.cancelled:
            callback(self.cancelled)
        else:
            self.on_cancelled = callback

    def open_stream(self) -> "ReplyStream":
        """Answer with a stream; the caller must have asked for one."""
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

    # --- called by Serving ------------------------------------------------------------------------------------------
    def cancel(self, reason: str) -> None:
        """Note that the caller no longer waits, and tell the handler's callback."""
        if self.cancelled:
            return
        self.cancelled = reason
        if self.stream is not None:
            self.stream.cancelled(reason)
        callback, self.on_cancelled = self.on_cancelled, None
        if callback is not None:
            callback(reason)

    def credit(self, count: int) -> None:
        """Let the stream send `count` more parts."""
        if self.stream is not None:
            self.stream.grant(count)

    def __repr__(self) -> str:
        size = len(self.message.body)
        return f"Request({self.kind.name}, to={self.to!r}, sender={self.sender!r}, topic={self.topic!r}, {size} bytes)"


_MOST_CREDIT = 1 << 20


class ReplyStream:
    """Stream of replies to one request; the caller's credit bounds the parts under way. End it, or the caller waits.

    Another thread than the loop's may send parts too (`at_once`), as long as the loop sends none meanwhile: granted and
    sent parts are counted apart, each count changed by one thread at a time.
    """

    __slots__ = ("_envelope", "_granted", "_request", "_sent", "_waiters")

    def __init__(self, request: Request, credit: int) -> None:
        self._request = request
        self._envelope = pack_envelope(PART, "", request.to, request.id)  # the same for every part
        self._granted, self._sent = max(0, min(credit, _MOST_CREDIT)), 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def send(self, payload: Any) -> None:
        """Send a part as soon as there is credit for it; CallCancelled if the caller no longer wants the stream."""
        while not self.try_send(payload):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def try_send(self, payload: Any) -> bool:
        """Send a part if there is credit for it; False if there is none."""
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
        """Send an encoded part from another thread.

        False: it was not sent, because the stream has ended, credit or room is lacking, or the part is large. The loop
        then has to send it.
        """
        request = self._request
        if request.cancelled or request.done or self._sent >= self._granted:
            return False
        if not request.serving.at_once(request.member, self._envelope, body):
            return False
        self._sent += 1
        return True

    def end(self) -> None:
        """End the stream; once."""
        request = self._request
        if request.done:
            raise request._too_late()
        request.done = True
        request.serving.answer(request, END, None)

    def fail(self, code: str, text: str, detail: Any = None) -> None:
        """End the stream with an error."""
        self._request.fail(code, text, detail)

    def grant(self, count: int) -> None:
        """Allow `count` more parts."""
        self._granted = min(self._granted + max(0, count), self._sent + _MOST_CREDIT)
        for _ in range(min(self._granted - self._sent, len(self._waiters))):
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def cancelled(self, reason: str) -> None:
        """Wake all who wait for credit: the caller no longer wants the stream."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # it tries again, and raises
