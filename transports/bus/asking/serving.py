"""Serve requests: find the handler, run it inline, keep the requests that are not answered yet."""

import math
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from transports.bus.asking.requests import Request
from transports.bus.deadlines import LONGEST, Deadlines
from transports.bus.errors import NoSuchName, NotEncodable, Overloaded, PeerLost, TooLarge
from transports.bus.frames import SEND, STREAM, Envelope, pack_envelope
from transports.bus.messages import Message
from transports.bus.name_rows import NameRows
from transports.bus.pubsub.delivery import CAUGHT

Handler = Callable[[Request], Any]
Send = Callable[[str, bytes, Any], None]
AtOnce = Callable[[str, bytes, bytes], bool]
HANDLER_ERROR = "handler_error"
_NEVER = math.inf


class Taker(Struct, eq=False, frozen=True):
    """Handler of some names, and the class of the requests that it gets."""

    handler: Callable[[Any], Any]
    kind: type[Request]


class Serving:
    """Handlers of one member, and its open requests.

    `send(member, envelope, payload)` encodes and sends; `at_once(member, envelope, body)` sends from any thread, or
    returns False; `failed(where, error)` reports what a handler raised.
    """

    def __init__(self, send: Send, at_once: AtOnce, failed: Callable[[str, BaseException], None]) -> None:
        self._send, self.at_once, self._failed = send, at_once, failed
        self.handlers: NameRows[Taker] = NameRows()
        self._recent = self.handlers.recent
        self._own: Taker | None = None
        self._open: dict[tuple[str, int], Request] = {}
        self._deadlines = Deadlines(self._expired)
        self.served = self.late = 0
        self._closed = False

    @property
    def open(self) -> int:
        """Number of requests that are not answered yet."""
        return len(self._open)

    def serve_member(self, handler: Handler | None) -> None:
        """Set the handler of requests to the member itself; None: there is none."""
        self._own = Taker(handler, Request) if handler is not None else None

    def serve(self, member: str, envelope: Envelope, message: Message) -> None:
        """Run the handler of a request; drop the request if its deadline has passed."""
        deadline = envelope.deadline
        if deadline < 0.0:  # the seconds that remain: the caller has another clock
            deadline = time.monotonic() - deadline
        self.served += 1
        if self._closed or (deadline and time.monotonic() >= deadline):
            self.late += 1  # the caller has given up already, or hears that this member has left
            return
        to = envelope.to
        taker = self._recent.get(to)
        if taker is None:
            taker = self._own if to[:1] == "@" else self.handlers.get(to)
        handler, kind = (taker.handler, taker.kind) if taker is not None else (self._unknown_name, Request)
        wire = envelope.kind
        tells = wire == SEND
        request = kind(
            self, member, envelope, message, deadline or _NEVER, envelope.trace, wire == STREAM, tells, tells
        )
        try:
            handler(request)
        except CAUGHT as error:  # what a handler raises goes to its caller
            self.handler_failed(request, error)
        if not request.done:
            self._open[member, envelope.id] = request
            request.kept = True
            if deadline:
                latest = time.monotonic() + LONGEST  # a caller may have sent infinity, or no number
                request.tick = self._deadlines.add((member, envelope.id), min(latest, deadline))

    def _unknown_name(self, request: Request) -> None:
        if request.tells:
            self._failed(f"message to {request.to!r}", NoSuchName(f"nobody here is called {request.to!r}"))
        else:
            request.fail(NoSuchName.code, f"nobody is called {request.to!r} at member {request.member}")

    def handler_failed(self, request: Request, error: BaseException) -> None:
        """Report what a handler raised, and fail the request with it."""
        self._failed(f"handler of {request.to!r}", error)
        if not request.done:
            code = error.code if isinstance(error, NotEncodable) else HANDLER_ERROR
            try:
                request.fail(code, f"{type(error).__name__}: {error}")
            except Overloaded as full:
                self._failed(f"answer to {request.sender!r}", full)

    def part(self, request: Request, envelope: bytes, payload: Any) -> None:
        """Send one part of a stream that the caller still wants."""
        try:
            self._send(request.member, envelope, payload)
        except PeerLost:
            self.late += 1

    def answer(self, request: Request, kind: int, payload: Any) -> None:
        """Send a reply, an error, or the end of a stream."""
        if request.cancelled:
            self.late += 1
            if request.kept:
                self._forget(request)
            return
        asked = request.envelope
        try:
            self._send(request.member, pack_envelope(kind, "", asked.to, asked.id, 0.0, "", "", 0), payload)
        except PeerLost:
            self.late += 1
        except (NotEncodable, TooLarge, Overloaded):
            request.done = False  # it can still be failed with a text, or answered when there is room
            raise
        if request.kept and request.done:
            self._forget(request)

    def _forget(self, request: Request) -> None:
        key = request.member, request.envelope.id
        if self._open.pop(key, None) is not None:
            self._deadlines.discard(key, request.tick)

    def _expired(self, key: tuple[str, int]) -> None:
        self._end(key, "its deadline passed")

    def cancel(self, member: str, id_: int) -> None:
        """Cancel a request: its caller no longer waits."""
        self._end((member, id_), "the caller cancelled")

    def _end(self, key: tuple[str, int], reason: str) -> None:
        request = self._open.pop(key, None)
        if request is not None:  # else it was answered, perhaps by the callback of another request
            self._deadlines.discard(key, request.tick)
            self._cancel(request, reason)

    def credit(self, member: str, id_: int, count: int) -> None:
        """Let the stream of a request send `count` more parts."""
        request = self._open.get((member, id_))
        if request is not None:
            request.credit(count)

    def member_lost(self, member: str) -> None:
        """Cancel all requests of a member."""
        for key in [key for key in self._open if key[0] == member]:
            self._end(key, "the caller's process is gone")

    def _cancel(self, request: Request, reason: str) -> None:
        try:
            request.cancel(reason)
        except CAUGHT as error:
            self._failed(f"on_cancel of {request.to!r}", error)

    def close(self) -> None:
        """Cancel all requests, and take no more."""
        self._closed = True
        for key in list(self._open):
            self._end(key, "this member leaves the bus")
        self._deadlines.close()
