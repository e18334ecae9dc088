"""One request and its response, as an application sees them.

    connection ── on_body, on_complete, on_gone ──> Cycle <── receive, send ── application of ASGI
               <── start_response, write, end_with_trailers, consumed ──      <── body, answer ── one without tasks

The connection never waits; the application's `send` waits while the client takes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from transports.http2.request import Header
from transports.http2.server.head import RequestHead
from transports.http2.server.waiting import Waiters

log = logging.getLogger("three_mode.http2.server")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

# What an application may have beside ASGI, as its attribute `at_once`: it is asked for each request that is whole when
# it is handed over. True: it answers by `Cycle.answer`, then or later, without a task. False: it is called by ASGI.
TakesAtOnce = Callable[["Cycle"], bool]

ASGI = {"version": "3.0", "spec_version": "2.3"}
# `http.request.open_ended`, sent by an application, says that the request's body is one side of a talk: it has pauses,
# and no rate is asked of it. The application says how long it may last.
EXTENSIONS: dict[str, dict[str, Any]] = {"http.response.trailers": {}, "http.request.open_ended": {}}


class CycleConnection(Protocol):
    """What a cycle needs of the connection that it came by."""

    scheme: str
    client: Any
    """Address of the client, as ASGI has it."""
    address: Any
    """Address of the server, as ASGI has it."""
    running: "set[asyncio.Task[None]]"
    """Tasks of the application."""

    def start_response(self, cycle: "Cycle", status: int, headers: Iterable[Header], body: bytes, ends: bool) -> None:
        """Sends the head of the response, and the first or only piece of its body."""

    def answer(self, cycle: "Cycle", status: int, headers: tuple[Header, ...], body: bytes) -> bool:
        """Sends a whole response, if it is of a kind that needs no look at what the parts of others need."""

    def write(self, cycle: "Cycle", body: bytes, ends: bool) -> None:
        """Sends a piece of the body."""

    def end_with_trailers(self, cycle: "Cycle", trailers: list[Header]) -> None:
        """Ends the response with these fields."""

    def blocked(self, cycle: "Cycle") -> bool:
        """Whether the client has to take something before more is sent. `cycle.on_writable` is called then."""

    def consumed(self, cycle: "Cycle", size: int) -> None:
        """The application took bytes of the body; 0: it waits for the first of them."""

    def leave_open(self, cycle: "Cycle") -> None:
        """The body of the request may take as long as the application lets it."""

    def fail(self, cycle: "Cycle") -> None:
        """The application ended without a whole response, which had begun."""

    def give_up(self, cycle: "Cycle", why: str) -> None:
        """The request is not whole, and not waited for any more: its client is told with 408."""


class Cycle:
    """A request in the hands of an application. What most requests leave as it is belongs to the class."""

    task: "asyncio.Task[None] | None" = None
    begun = False  # the application has it
    stream_id = 0
    unacknowledged = 0  # bytes taken by the application, and not yet said to the client
    # The request.
    complete = False
    body_size = 0  # bytes in all
    held = 0  # bytes that the application has not taken
    received_since = 0.0
    open_ended = False
    _end_read = False
    # The response.
    started = False
    ended = False
    gone = False  # nobody waits for it
    when_gone: Callable[[], None] | None = None
    """Called once nobody waits for the response any more, of an application that answers at once."""
    left: int | None = None  # bytes of its body that are still owed; None: as many as come
    _status = 0
    _headers: Iterable[Header] = ()
    _trailers_follow = False
    _readable: Waiters | None = None
    _writable: Waiters | None = None

    def __init__(self, carrier: CycleConnection, loop: asyncio.AbstractEventLoop, head: RequestHead) -> None:
        self.carrier, self._loop, self.head = carrier, loop, head
        self.bodiless = head.method == "HEAD"  # its response has a length, and no body
        self.expects_continue = head.expects_continue
        self._chunks: list[bytes] = []

    def start(self, application: Application) -> None:
        """Calls an application of ASGI in a task, which is among the running ones until it ends. One that answers at
        once may leave the rest of its answer to such a task."""
        self.when_gone = None
        self.task = task = self._loop.create_task(self._run(application))
        self.carrier.running.add(task)

    async def _run(self, application: Application) -> None:
        try:
            await application(http_scope(self.head, self.carrier), self.receive, self.send)
        except asyncio.CancelledError:
            self._fail(503, b"Service Unavailable")
            raise
        except Exception:
            log.exception("the application failed")
            self._fail()
        else:
            if not self.ended and not self.gone:
                log.error("the application ended without a whole response")
                self._fail()
        finally:
            self.carrier.running.discard(self.task)

    def _fail(self, status: int = 500, text: bytes = b"Internal Server Error") -> None:
        if self.ended or self.gone:
            return
        if self.started:
            self.carrier.fail(self)
            return
        self._finish_start(status, [(b"content-type", b"text/plain")], text, True)

    # The side of an application that answers at once

    @property
    def body(self) -> bytes:
        """What came of the body. It stays there for `receive`."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def answer(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """Sends the whole response, unless nobody waits for it."""
        self.when_gone = None
        if self.gone or (not self.bodiless and self.carrier.answer(self, status, headers, body)):
            self.started = self.ended = True
        else:
            self._finish_start(status, headers, body, True)

    # The side of an application of ASGI

    async def receive(self) -> Message:
        """The next piece of the body, or the end of the connection."""
        while True:
            if self._chunks:
                chunks = self._chunks
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                self._end_read = self.complete
                self.held = 0
                if not self.complete:
                    self.carrier.consumed(self, len(body))
                return {"type": "http.request", "body": body, "more_body": not self.complete}
            if self.gone or self.ended:
                return {"type": "http.disconnect"}
            if self.complete and not self._end_read:
                self._end_read = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if not self.complete:
                self.carrier.consumed(self, 0)
            if self._readable is None:
                self._readable = Waiters(self._loop)
            await self._readable.wait()

    async def send(self, message: Message) -> None:
        """A part of the response. Of a client that is gone nothing is said here; `receive` says it."""
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body", b"")
            ends = not message.get("more_body", False) and not self._trailers_follow
            if not self._status or self.ended:
                raise RuntimeError("a body needs a start before it, and nothing comes after the end")
            if not self.started:
                self._finish_start(self._status, self._headers, body, ends)
            else:
                self._write(body, ends)
            if not ends:
                while self.carrier.blocked(self) and not self.gone:
                    if self._writable is None:
                        self._writable = Waiters(self._loop)
                    await self._writable.wait()
        elif kind == "http.response.start":
            if self._status:
                raise RuntimeError("a response has one start")
            self._status = message["status"]
            self._headers = message.get("headers", ())
            self._trailers_follow = message.get("trailers", False)
        elif kind == "http.response.trailers":
            if not self._trailers_follow or not self._status or self.ended:
                raise RuntimeError("trailers were not announced by the start")
            if not self.started:
                self._finish_start(self._status, self._headers, b"", False)
            if not message.get("more_trailers", False):
                self.ended = True
                self.carrier.end_with_trailers(self, list(message.get("headers", ())))
        elif kind == "http.request.open_ended":
            if not self.complete and not self.open_ended:
                self.open_ended = True
                self.carrier.leave_open(self)
        else:
            raise RuntimeError(f"{kind} is no part of a response")

    def _finish_start(self, status: int, headers: Iterable[Header], body: bytes, ends: bool) -> None:
        self.started = True
        self.ended = ends
        if self.bodiless or status in (204, 304):
            self.bodiless, body = True, b""
        try:
            self.carrier.start_response(self, status, headers, body, ends)
        except Exception:
            self.ended = False  # nothing whole went out
            raise

    def _write(self, body: bytes, ends: bool) -> None:
        if self.bodiless:
            body = b""
        if body or ends:
            self.carrier.write(self, body, ends)
            self.ended = ends

    # The connection's side

    def on_body(self, data: bytes) -> None:
        """A piece of the body came."""
        self._chunks.append(data)
        self.held += len(data)
        self.body_size += len(data)
        if self._readable is not None:
            self._readable.wake()

    def on_whole_body(self, data: bytes) -> None:
        """The body came at once, and the request is whole."""
        self._chunks.append(data)
        self.held = self.body_size = len(data)
        self.complete = True

    def on_complete(self) -> None:
        """The request is whole."""
        self.complete = True
        if self._readable is not None:
            self._readable.wake()

    def on_gone(self) -> None:
        """Nobody waits for the response any more."""
        self.gone = True
        self._chunks.clear()
        if self._readable is not None:
            self._readable.wake()
        self.on_writable()
        if self.when_gone is not None:
            gone, self.when_gone = self.when_gone, None
            gone()

    def on_writable(self) -> None:
        """The client takes more."""
        if self._writable is not None:
            self._writable.wake()


def http_scope(head: RequestHead, carrier: CycleConnection) -> Scope:
    """ASGI's description of a request."""
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": head.http_version,
        "method": head.method,
        "scheme": carrier.scheme,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.headers.copy(),
        "client": carrier.client,
        "server": carrier.address,
        "extensions": EXTENSIONS,
    }
