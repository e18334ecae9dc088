"""HTTP/1.1 connection: one call at a time, kept alive between calls. h11 is the protocol of all calls that are not
plain (see h1_plain.py).
"""

import asyncio
import select
from typing import NamedTuple

import h11

from transports.http2.connection import Connection, ConnectionOwner, shortened
from transports.http2.errors import ConnectionLost, InvalidRequest, LimitExceeded, PeerMisbehaved
from transports.http2.exchange import Exchange
from transports.http2.h1_plain import HEAD_END, read_response, request_block
from transports.http2.heads import body_length, request_head
from transports.http2.request import Header

TOO_LARGE = 431  # status with which h11 marks a head beyond its limit
PIECE = 65_536  # bytes of a body in one write
_FRAMED_TWICE = frozenset((b"content-length", b"transfer-encoding"))


class _Sent(NamedTuple):
    """A plain request, in case its response is not plain."""

    method: bytes
    target: bytes
    headers: list[Header]
    body: bytes


class H1Connection(Connection):
    """asyncio's protocol of an HTTP/1.1 connection."""

    http_version = "HTTP/1.1"

    def __init__(
        self, pool: ConnectionOwner, loop: asyncio.AbstractEventLoop, *, via_proxy: bytes | None = None
    ) -> None:
        """`via_proxy`: requests go to a proxy, with whole URLs; the value of proxy-authorization, or b"" for none."""
        super().__init__(pool, loop)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=pool.options.limits.header_bytes)
        self._exchange: Exchange | None = None
        self._via_proxy = via_proxy
        self._plain: _Sent | None = None  # the request that is answered; None: h11 has it
        self._left = -1  # bytes of its response's body that are still to come; -1 before the head
        self._unsent: list[bytes] = []
        self._reading = True
        self._requests = 0
        self._hangup: select.poll | None = None

    # --- called by the pool ---

    @property
    def available(self) -> int:
        return 0 if self.retiring or self.closed or self._exchange is not None or self._peer_has_left() else 1

    @property
    def capacity(self) -> int:
        return 1

    @property
    def busy(self) -> int:
        return 0 if self._exchange is None else 1

    def _peer_has_left(self) -> bool:
        """Whether the peer has closed the connection since the loop last read from it.

        A server may close an idle connection without a word, and a request that is sent into it fails.
        """
        if self._requests == 0 or self.transport is None:
            return False  # new
        if self._hangup is None:
            # Registered once: the descriptor stays the same for as long as the connection is not `closed`.
            self._hangup = select.poll()
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                self._hangup.register(sock.fileno(), select.POLLRDHUP)
        return bool(self._hangup.poll(0))

    def take_exchanges(self) -> list[Exchange]:
        carried = [] if self._exchange is None else [self._exchange]
        self._exchange = None
        return carried

    def start(self, exchange: Exchange) -> None:
        request = exchange.request
        head = request_head(request)
        length = body_length(request)
        target = request.target
        headers: list[Header] = [(b"host", head[2][1]), *head[4:]]
        if self._via_proxy is not None:
            target = b"http://" + head[2][1] + target
            if self._via_proxy:
                headers.append((b"proxy-authorization", self._via_proxy))
        streamed = not isinstance(request.body, bytes)
        if length is not None:
            headers.append((b"content-length", length))
        elif streamed:
            headers.append((b"transfer-encoding", b"chunked"))
        exchange.connection = self
        self._exchange = exchange
        self._requests += 1
        if isinstance(request.body, bytes) and len(request.body) <= PIECE and self.writable and self._via_proxy is None:
            block = request_block(head)
            if block is not None:
                self._plain, self._left = _Sent(request.method, target, headers, request.body), -1
                length_line = b"" if length is None else b"content-length: %s\r\n" % length
                self.write(b"%s%s\r\n%s" % (block, length_line, request.body))
                exchange.on_sent()
                return
        try:
            self._send(h11.Request(method=request.method, target=target, headers=headers))
        except InvalidRequest:
            self._exchange = exchange.connection = None
            self.close()
            raise
        if isinstance(request.body, bytes):
            exchange.body_left = memoryview(request.body)
            self._send_body(exchange)
        else:
            exchange.uploader = self.loop.create_task(exchange.upload(self, request.body))
        self.flush()

    def consumed(self, exchange: Exchange, size: int) -> None:
        if not self._reading and exchange.backlog < self.pool.options.stream_window and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()

    def abandon(self, exchange: Exchange) -> None:
        """Closes the connection: HTTP/1.1 cannot end one response early."""
        if exchange is self._exchange:
            self._release_exchange()
            self.closed = True
            if self.transport is not None:
                self.transport.abort()
            self.pool.remove(self)

    def maintain(self, now: float) -> None:
        options = self.pool.options
        if (not self.busy and now - self.idle_since >= options.idle_after) or (
            not self.retiring and now - self.opened_at >= options.retire_after
        ):
            self.retire()

    def flush(self) -> None:
        if self._unsent:
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            self.write(data)

    # --- sending bodies ---

    def send(self, exchange: Exchange, data: memoryview) -> int:
        if exchange is not self._exchange:
            return 0
        sent = self._send_while_writable(data)
        self.flush()
        return sent

    def end(self, exchange: Exchange) -> None:
        if exchange is self._exchange:
            exchange.uploader = None
            self._send(h11.EndOfMessage())
            self.flush()
            exchange.on_sent()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is not None:
            if self._exchange.uploader is not None:
                self._exchange.resume_upload()
            elif self._exchange.body_left is not None:
                self._send_body(self._exchange)

    def _send_body(self, exchange: Exchange) -> None:
        """Sends as much of a body of bytes as the socket takes; `resume_writing` sends the rest."""
        left = exchange.body_left
        assert left is not None
        left = left[self._send_while_writable(left) :]
        if left:
            exchange.body_left = left
            exchange.on_sending()
        else:
            exchange.body_left = None
            self._send(h11.EndOfMessage())
            self.flush()
            exchange.on_sent()

    def _send_while_writable(self, data: memoryview) -> int:
        """Sends pieces until the socket is full; returns the number of bytes sent.

        Only a full socket may leave a rest, because only a full socket is followed by `resume_writing`. The last piece
        is not flushed: it leaves together with the end of the body.
        """
        sent, size = 0, len(data)
        while sent < size and self.writable:
            self._send(h11.Data(data=bytes(data[sent : sent + PIECE])))
            sent = min(sent + PIECE, size)
            if sent < size:
                self.flush()
        return sent

    def _send(self, event: h11.Event) -> None:
        try:
            data = self._h11.send(event)
        except h11.LocalProtocolError as error:
            raise InvalidRequest(f"the request contradicts itself: {error}") from None
        if data:
            self._unsent.append(data)

    # --- called by asyncio ---

    def data_received(self, data: bytes) -> None:
        self.received_at = self.loop.time()
        self.pool.statistics.bytes_received += len(data)
        if self.closed:
            return
        if self._exchange is None:
            self.abort(PeerMisbehaved(f"{self.pool.origin} sent bytes that no request asked for"))
            return
        self._parse(data)

    def eof_received(self) -> bool:
        if self._exchange is not None and not self.closed:
            self._parse(b"")  # the end of a body without a length
        return False

    def _parse(self, data: bytes) -> None:
        """Reads bytes of a response; none at the end of the connection."""
        if self._plain is not None and self._exchange is not None:
            self._parse_plain(self._plain, self._exchange, data)
        else:
            self._parse_any(data)

    def _parse_plain(self, sent: _Sent, exchange: Exchange, data: bytes) -> None:
        if self._left < 0:
            end = data.find(HEAD_END)
            head = read_response(data[: end + 2]) if end >= 0 else None
            if head is None:
                self._leave_to_h11(sent, data)
                return
            data, self._left = data[end + len(HEAD_END) :], head.length
            self.http_version = "HTTP/1.1"
            exchange.reason = head.reason
            exchange.on_head(head.status, head.headers)
        elif not data:
            self._ended_early()
            return
        body = data[: self._left] if len(data) > self._left else data
        self._left -= len(body)
        if body:
            self._take(exchange, body)
        if self._left == 0 and self._exchange is exchange:
            self._plain = None
            self._complete(exchange, clean=len(body) == len(data))

    def _leave_to_h11(self, sent: _Sent, data: bytes) -> None:
        """Has h11 read a response that is not plain, or whose head comes in pieces. It is told of the request first."""
        self._plain = None
        self._h11.send(h11.Request(method=sent.method, target=sent.target, headers=sent.headers))
        if sent.body:
            self._h11.send(h11.Data(data=sent.body))
        self._h11.send(h11.EndOfMessage())
        self._parse_any(data)

    def _ended_early(self) -> None:
        why = f"{self.pool.origin} closed the connection before the response was complete"
        self.abort(ConnectionLost(why, orderly=True))

    def _take(self, exchange: Exchange, data: bytes) -> None:
        exchange.on_data(data)
        if exchange.backlog >= self.pool.options.stream_window and self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def _parse_any(self, data: bytes) -> None:
        try:
            self._h11.receive_data(data)
            while self._exchange is not None:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._on_event(self._exchange, event)
        except h11.RemoteProtocolError as error:
            if not data:
                self._ended_early()
            elif error.error_status_hint == TOO_LARGE:
                self.abort(
                    LimitExceeded(
                        f"the head of the response is longer than {self.pool.options.limits.header_bytes} bytes"
                    )
                )
            else:
                self.abort(PeerMisbehaved(f"{self.pool.origin} broke HTTP/1.1: {shortened(error)}"))

    def _on_event(self, exchange: Exchange, event: object) -> None:
        if isinstance(event, h11.Data):
            self._take(exchange, bytes(event.data))
        elif isinstance(event, h11.Response):
            self.http_version = f"HTTP/{event.http_version.decode()}"
            exchange.reason = bytes(event.reason)
            headers = tuple((name, value) for name, value in event.headers)
            if {name for name, _ in headers} >= _FRAMED_TWICE:
                # A length beside chunks may be an attempt to add a response (RFC 9112, section 6.3).
                self.retire()
            exchange.on_head(event.status_code, headers)
        elif isinstance(event, h11.EndOfMessage):
            exchange.trailers = [(name, value) for name, value in event.headers]
            clean = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
            clean = clean and not self._h11.trailing_data[0]
            if clean:
                self._h11.start_next_cycle()
            self._complete(exchange, clean)
        elif isinstance(event, h11.ConnectionClosed):
            self.abort(ConnectionLost(f"{self.pool.origin} closed the connection before it answered", orderly=True))

    def _complete(self, exchange: Exchange, clean: bool) -> None:
        """Ends the call. `clean`: the connection may carry another."""
        self._release_exchange()
        if not clean:
            # The server sent `connection: close`, or answered before the end of the request, or sent more than it
            # declared:
            # such bytes must not become the response to another request.
            self.retire()
        if not self._reading and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()
        if self.retiring:
            self.close()
        exchange.on_end()

    def _release_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        self.idle_since = self.loop.time()
        if exchange is not None:
            exchange.connection = None
