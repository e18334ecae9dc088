"""An HTTP/1.1 connection: one request at a time; what a client sends ahead waits, within a bound.

HEAD ──> BODY ──> the response runs ──> HEAD
 │         └─ the response ends first: the rest of the body is thrown away, within a limit
 └─ refused: the response goes out, and what still comes is thrown away (LINGER), or the client would see a reset
"""

import asyncio
from collections.abc import Iterable

from transports.http2.request import Header
from transports.http2.server.connection import AcceptedConnection, OwningServer
from transports.http2.server.cycle import Cycle
from transports.http2.server.deadlines import NEVER
from transports.http2.server.h1_body import ChunkedBody, LengthBody
from transports.http2.server.h1_head import BARE_LF, HEAD_END
from transports.http2.server.h1_response import CONTINUE, refusal, response_head, whole_head
from transports.http2.server.h2_connection import H2ServerConnection
from transports.http2.server.head import BadRequest, RequestHead
from transports.http2.server.websocket import WebSocketConnection, handshake

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"  # the part of HTTP/2's that looks like a request
MOST_AHEAD = 65_536  # bytes of requests that a client sends ahead


class H1ServerConnection(AcceptedConnection):
    """asyncio on one side, requests on the other. Of a client that begins with HTTP/2's preface, h2 takes over."""

    def __init__(self, server: OwningServer) -> None:
        super().__init__(server)
        self._held = bytearray()  # bytes that are no whole head yet, or of requests sent ahead
        self._searched = 0
        self._skipped = False  # the one empty line before a request that is ignored (RFC 9112, section 2.2)
        self._cycle: Cycle | None = None
        self._head: RequestHead | None = None
        self._body: LengthBody | ChunkedBody | None = None
        self._keep_alive = True
        self._chunked = False  # the response
        self._says_continue = False
        self._first = True
        self._stopped_at = 0.0  # when reading stopped because the application does not take the body

    # The server's side

    def retire(self) -> None:
        if self._cycle is None and not self._held:
            self.close()

    def evict(self) -> None:
        if self._cycle is not None:
            self._refuse(408, "the body did not come whole")
        self.close()

    def timed_out(self, now: float) -> None:
        cycle = self._cycle
        if self.lingering:
            self.close()
        elif cycle is None:
            if self._held:
                self._refuse(408, "the head of the request did not come whole")
            else:
                self.close()
        elif cycle.ended:
            self.close()  # the rest of a body that nobody wants takes too long
        elif cycle.started:
            self.abort()
        else:
            self._refuse(408, "the body did not come whole, or too slowly")

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() == "h2":
            self._switch_to_h2(b"")

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            self.discard(len(data))
        elif self._body is not None:
            self._read_body(data)
        elif self._cycle is None and not self.closing:
            self._read_head(data)
        else:
            self._held += data
            if len(self._held) > MOST_AHEAD:
                self.pause_reading()

    def eof_received(self) -> bool:
        return False  # a client that sends no more has left: what works for it ends

    def connection_lost(self, exc: Exception | None) -> None:
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            self.server.complete(cycle)
            if not cycle.ended:
                cycle.on_gone()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.closing or self.lingering:
            return
        cycle = self._cycle
        if cycle is None:
            self.set_deadline(self.loop.time() + self.options.idle_after)
            self.resume_reading()
            self._read_ahead()
            return
        self.deadline = NEVER
        if self._body is not None and not cycle.ended and cycle.held <= self.options.body_window:
            self.set_deadline(self._body_deadline(cycle))
        if len(self._held) <= MOST_AHEAD and cycle.held <= self.options.body_window:
            self.resume_reading()
        cycle.on_writable()

    def _read_ahead(self) -> None:
        """The request that the client sent ahead, unless it has responses to read first."""
        if self._held and self.writable and self._cycle is None:
            held = bytes(self._held)
            self._held.clear()
            self._searched = 0
            self._read_head(held)

    # Requests

    def _read_head(self, data: bytes) -> None:
        held = self._held
        if held:
            held += data
            if not self._skipped and held[:2] == b"\r\n":
                del held[:2]
                self._skipped = True
                self._searched = 0
            end = held.find(HEAD_END, self._searched)
            if end >= 0:
                data = bytes(held)
                held.clear()
        else:
            if not self._skipped and data[:2] == b"\r\n":
                data = data[2:]
                self._skipped = True
                if not data:
                    return
            end = data.find(HEAD_END)
            if end < 0:
                held += data
                if not self._first:
                    self.set_deadline(self.loop.time() + self.options.head_within)
        limit = self.options.head_bytes
        try:
            if end < 0:
                if len(held) > limit:
                    raise BadRequest(431, f"the head of the request is longer than {limit} bytes")
                if BARE_LF.search(held, self._searched):
                    raise BadRequest(400, "a line ends without CR")
                self._searched = max(0, len(held) - 3)
                return
            self._searched = 0
            if end > limit:
                raise BadRequest(431, f"the head of the request is longer than {limit} bytes")
            if self._first and data[: len(PREFACE)] == PREFACE:
                self._switch_to_h2(data)
                return
            head = self.server.heads.read(data[: end + 2], self.options.head_fields)
        except BadRequest as error:
            self._refuse(error.status, error.why)
            return
        self._first = False
        self._begin(head, data[end + 4 :])

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        self._skipped = False
        self._head = head
        self._keep_alive = head.keep_alive
        if head.upgrade == b"websocket":
            self._switch_to_websocket(head, rest)
            return
        limit = self.options.body_bytes
        if limit is not None and head.content_length is not None and head.content_length > limit:
            self._refuse(413, f"the body is longer than {limit} bytes")
            return
        cycle = self._cycle = Cycle(self, self.loop, head)
        if rest and head.content_length == len(rest):
            cycle.on_whole_body(rest)
            self._runs()
        elif head.has_body:
            self._body = ChunkedBody() if head.chunked else LengthBody(head.content_length or 0)
            self._says_continue = head.expects_continue
            cycle.received_since = self.loop.time()
            if rest:
                self._read_body(rest)
            if self._body is not None:
                self.server.incomplete(cycle)
                if not self._says_continue:
                    self.set_deadline(self._body_deadline(cycle))
                else:
                    self.deadline = NEVER  # the client waits for a word, which the application gives
        else:
            self._complete(cycle, rest)
        if self._cycle is cycle and not cycle.begun:
            if cycle.complete or not self.server.answers_at_once:
                self.server.answer(cycle)
            else:  # most clients send the head and the body one after the other: the loop looks once more before a task
                self.loop.call_soon(self.loop.call_soon, self._answer_anyway, cycle)

    def _answer_anyway(self, cycle: Cycle) -> None:
        """The body has not come whole with its head."""
        if self._cycle is cycle and not cycle.begun:
            self.server.answer(cycle)

    def _body_deadline(self, cycle: Cycle) -> float:
        options = self.options
        return cycle.received_since + options.body_grace + cycle.body_size / options.body_rate

    def _read_body(self, data: bytes) -> None:
        cycle, body = self._cycle, self._body
        assert cycle is not None
        assert body is not None
        self._says_continue = False  # it sends already
        try:
            piece, rest = body.feed(data)
        except BadRequest as error:
            self._refuse(error.status, error.why)
            return
        if cycle.ended:
            if rest is None:
                self.discard(len(data))
        else:
            limit = self.options.body_bytes
            if limit is not None and cycle.body_size + len(piece) > limit:
                self._refuse(413, f"the body is longer than {limit} bytes")
                return
            if piece:
                cycle.on_body(piece)
                if cycle.held > self.options.body_window and rest is None:
                    self.pause_reading()
                    self._stopped_at = self.loop.time()
                    self.deadline = NEVER
                elif self.writable:
                    self.deadline = self._body_deadline(cycle)
        if rest is not None:
            self._body = None
            self.server.complete(cycle)
            if cycle.ended:
                self._next(rest)
            else:
                self._complete(cycle, rest)

    def _complete(self, cycle: Cycle, rest: bytes) -> None:
        if rest:
            self._held += rest
        self._runs()
        cycle.on_complete()
        if not cycle.begun:
            self.server.answer(cycle)

    def _runs(self) -> None:
        """A whole request waits for its answer, and for nothing of its client."""
        if self.writable:
            self.deadline = NEVER
        self.server.busy(self)

    # Responses: the cycle's side

    def answer(self, cycle: Cycle, status: int, headers: tuple[Header, ...], body: bytes) -> bool:
        """Sends a whole response of the usual kind; False: nothing was sent, because it is of another kind."""
        head, transport = self._head, self.transport
        if (
            transport is None
            or head is None
            or not self._keep_alive
            or self.server.retiring
            or self._body is not None
            or head.http_version != "1.1"
        ):
            return False
        block = whole_head(status, headers, len(body), self.server.date())
        if block is None:
            return False
        transport.write(block + body)
        self._next(b"")
        return True

    def start_response(self, cycle: Cycle, status: int, headers: Iterable[Header], body: bytes, ends: bool) -> None:
        head = self._head
        assert head is not None
        if self.server.retiring or (status >= 400 and not cycle.complete):
            self._keep_alive = False
        block, cycle.left, self._chunked, closes = response_head(
            status, headers, len(body) if ends else None, head.http_version, cycle.bodiless, self._keep_alive,
            self.server.date(),
        )  # fmt: skip
        self._keep_alive = not closes
        self._send_piece(cycle, block, body, ends)

    def write(self, cycle: Cycle, body: bytes, ends: bool) -> None:
        self._send_piece(cycle, b"", body, ends)

    def _send_piece(self, cycle: Cycle, before: bytes, body: bytes, ends: bool) -> None:
        if self._chunked:
            if body:
                before += b"%x\r\n%b\r\n" % (len(body), body)
            if ends:
                before += b"0\r\n\r\n"
            data = before
        else:
            if cycle.left is not None and not cycle.bodiless:
                cycle.left -= len(body)
                if cycle.left < 0:
                    raise RuntimeError("the body is longer than the response's content-length")
                if ends and cycle.left:
                    self.abort()  # less than was promised: the client must not take it for the whole
                    return
            data = before + body if before else body
        if data and self.transport is not None:
            self.transport.write(data)
        if ends:
            self._finished(cycle)

    def end_with_trailers(self, cycle: Cycle, trailers: list[Header]) -> None:
        if self._chunked and self.transport is not None:
            fields = b"".join(b"%b: %b\r\n" % field for field in trailers)
            if fields.count(b"\n") != len(trailers) or fields.count(b"\r") != len(trailers):
                raise RuntimeError("a trailer holds a line end")
            self.transport.write(b"0\r\n" + fields + b"\r\n")
        self._finished(cycle)

    def blocked(self, cycle: Cycle) -> bool:
        return not self.writable

    def consumed(self, cycle: Cycle, size: int) -> None:
        if self._says_continue:
            self._says_continue = False
            cycle.received_since = self.loop.time()
            self.set_deadline(self._body_deadline(cycle))
            self.transport.write(CONTINUE)  # type: ignore[union-attr]
        elif not self.reading and self.writable and self._body is not None and cycle.held <= self.options.body_window:
            cycle.received_since += self.loop.time() - self._stopped_at
            self.set_deadline(self._body_deadline(cycle))
            self.resume_reading()

    def fail(self, cycle: Cycle) -> None:
        self.abort()

    def leave_open(self, cycle: Cycle) -> None:
        """HTTP/1.1 has no talk in both directions: the rate of its bodies stays asked for."""

    def give_up(self, cycle: Cycle, why: str) -> None:
        if cycle is self._cycle and not cycle.complete:
            if cycle.ended:
                self.close()
            else:
                self._refuse(408, why)

    def _finished(self, cycle: Cycle) -> None:
        """The response is out."""
        if self._body is None:
            self._next(b"")
        elif self._says_continue:
            self._body = None
            self.linger()  # it waits for a word before it sends, and none comes any more
        else:
            self.set_deadline(self.loop.time() + self.options.discard_within)
            self.resume_reading()

    def _next(self, rest: bytes) -> None:
        """The request is over on both sides; `rest` came behind it."""
        self._cycle = self._head = None
        self.discarded = 0
        self.server.idle(self)
        if not self._keep_alive or self.server.retiring or self.transport is None:
            self.close()
            return
        if rest:
            self._held += rest
        if self.writable:
            self.set_deadline(self.loop.time() + self.options.idle_after)
            if not self.reading:
                self.resume_reading()
            if self._held:
                self._read_ahead()

    # Ends

    def _refuse(self, status: int, why: str) -> None:
        """Answers in the application's place, and closes."""
        cycle, self._cycle = self._cycle, None
        self._body = None
        self._says_continue = False
        self._held.clear()
        if cycle is not None:
            self.server.complete(cycle)
            if not cycle.ended:
                cycle.on_gone()
        if (cycle is not None and cycle.started) or self.transport is None:
            self.abort()
            return
        self.transport.write(refusal(status, why, self.server.date()))
        self.linger()

    # Other protocols on the same port

    def _switch_to_h2(self, data: bytes) -> None:
        self._hand_over(H2ServerConnection(self.server), data)

    def _switch_to_websocket(self, head: RequestHead, rest: bytes) -> None:
        try:
            key = handshake(head)
        except BadRequest as error:
            self._refuse(error.status, error.why)
            return
        self._hand_over(WebSocketConnection(self.server, head, key), rest)

    def _hand_over(self, other: AcceptedConnection, data: bytes) -> None:
        """The socket is the other protocol's from now on, and its place among the connections too."""
        transport = self.transport
        assert transport is not None
        self.transport = None
        self.closing = True
        self.server.wheel.forget(self)
        self.server.closed(self)
        transport.set_protocol(other)
        other.connection_made(transport)
        if data:
            other.data_received(data)
