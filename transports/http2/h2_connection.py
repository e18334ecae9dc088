"""HTTP/2 connection: many concurrent calls, each with its own flow control, deadlines and end."""

import asyncio
from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from hyperframe.frame import GoAwayFrame

from transports.http2.connection import Connection, ConnectionOwner, shortened
from transports.http2.engine import CONNECTION_WINDOW, ClientEngine
from transports.http2.errors import ConnectionLost, LimitExceeded, PeerMisbehaved
from transports.http2.errors import StreamReset as StreamWasReset
from transports.http2.exchange import Exchange
from transports.http2.heads import body_length, lacks_body, request_head, response_head, trailer_fields
from transports.http2.uploads import Uploads

# One stream until the server has sent its limit: a burst into an unknown limit would be refused, and some servers end
# the connection over it. SETTINGS are the first frame of a server.
STREAMS_BEFORE_SETTINGS = 1
LAST_STREAM_ID = 2**31 - 1_001
CONNECTION_CREDIT = CONNECTION_WINDOW // 4


class H2Connection(Connection):
    """asyncio's protocol of an HTTP/2 connection."""

    http_version = "HTTP/2"

    def __init__(self, pool: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(pool, loop)
        self._engine = ClientEngine(pool.options, self._on_goaway)
        self._streams: dict[int, Exchange] = {}
        self._uploads = Uploads(self, self._engine)
        self._next_id = 1
        self._limit = STREAMS_BEFORE_SETTINGS
        self._has_settings = False  # the server's first SETTINGS have arrived
        self._unacknowledged = 0  # bytes received on the connection and not yet given back
        self._ping_sent_at: float | None = None
        self._stream_credit = max(1, pool.options.stream_window // 2)

    # --- called by the pool ---

    @property
    def available(self) -> int:
        if self.retiring or self.closed:
            return 0
        return self._limit - len(self._streams)

    @property
    def capacity(self) -> int | None:
        return self._limit if self._has_settings else None

    @property
    def busy(self) -> int:
        return len(self._streams)

    def take_exchanges(self) -> list[Exchange]:
        carried = list(self._streams.values())
        self._streams.clear()
        self._uploads.clear()
        return carried

    def start(self, exchange: Exchange) -> None:
        request = exchange.request
        head = request_head(request)
        length = body_length(request)
        if length is not None:
            head = (*head, (b"content-length", length))
        stream_id = self._next_id
        self._next_id += 2
        exchange.connection = self
        exchange.stream_id = stream_id
        self._streams[stream_id] = exchange
        if stream_id > LAST_STREAM_ID:
            self.retire()  # the stream numbers are used up
        body = request.body
        if isinstance(body, bytes):
            self._engine.open_stream(stream_id, head, ends=not body)
            self._uploads.begin(exchange, body)
        else:
            self._engine.open_stream(stream_id, head, ends=False)
            exchange.uploader = self.loop.create_task(exchange.upload(self, body))
        self.flush_soon()

    def consumed(self, exchange: Exchange, size: int) -> None:
        exchange.unacknowledged += size
        if exchange.unacknowledged >= self._stream_credit and self.is_open(exchange):
            self._engine.increment_flow_control_window(exchange.unacknowledged, exchange.stream_id)
            exchange.unacknowledged = 0
            self.flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        self._reset(exchange, ErrorCodes.CANCEL)

    def maintain(self, now: float) -> None:
        options = self.pool.options
        if self._ping_sent_at is not None:
            if now - self._ping_sent_at >= options.ping_within:
                why = f"{self.pool.origin} did not answer a PING within {options.ping_within:g} s"
                self.abort(ConnectionLost(why))
            return
        if (not self.busy and now - self.idle_since >= options.idle_after) or (
            not self.retiring and now - self.opened_at >= options.retire_after
        ):
            self.retire()
        elif now - self.received_at >= options.ping_every:
            self._ping_sent_at = now
            self._engine.ping(b"thremode")
            self.pool.statistics.pings_sent += 1
            self.pool.trace_event("connection.ping", {"streams": self.busy})
            self.flush_soon()

    def close(self) -> None:
        if not self.closed:
            try:
                self._engine.close_connection()
            except ProtocolError:
                pass
        super().close()

    def flush(self) -> None:
        self.write(self._engine.data_to_send())

    def is_open(self, exchange: Exchange) -> bool:
        """Whether the stream takes data. `h2` parses a whole read first: a stream may have ended before its event."""
        stream = self._engine.streams.get(exchange.stream_id)
        return stream is not None and not stream.closed and exchange.stream_id in self._streams

    def send(self, exchange: Exchange, data: memoryview) -> int:
        return self._uploads.send(exchange, data)

    def end(self, exchange: Exchange) -> None:
        self._uploads.end(exchange)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._uploads.resume()

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.received_at = self.loop.time()
        self.pool.statistics.bytes_received += len(data)
        self._ping_sent_at = None  # any byte shows that the peer is alive
        if self.closed:
            return
        try:
            events = self._engine.receive_data(data)
        except LimitExceeded as error:
            self._engine.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.abort(error)
            return
        except (DenialOfServiceError, FrameTooLargeError) as error:
            self.abort(LimitExceeded(f"{self.pool.origin} sent more than the limits allow: {error}"))
            return
        except ProtocolError as error:
            self.abort(PeerMisbehaved(f"{self.pool.origin} broke HTTP/2: {shortened(error)}"))
            return
        for event in events:
            handler = HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        if self._unacknowledged >= CONNECTION_CREDIT and not self.closed:
            self._engine.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        self.flush()

    # --- events of h2 ---

    def _on_head(self, event: Event) -> None:
        assert isinstance(event, ResponseReceived)
        exchange = self._streams.get(event.stream_id)
        if exchange is not None:
            try:
                status, fields = response_head(tuple(event.headers))
            except PeerMisbehaved as error:
                self._reset(exchange, ErrorCodes.PROTOCOL_ERROR)
                exchange.fail(error)
            else:
                exchange.on_head(status, fields)

    def _on_data(self, event: Event) -> None:
        assert isinstance(event, DataReceived)
        self._unacknowledged += event.flow_controlled_length
        exchange = self._streams.get(event.stream_id)
        if exchange is not None:
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self.consumed(exchange, padding)  # no caller takes padding
            if event.data:
                exchange.on_data(event.data)

    def _on_trailers(self, event: Event) -> None:
        assert isinstance(event, TrailersReceived)
        exchange = self._streams.get(event.stream_id)
        if exchange is not None:
            try:
                exchange.trailers = trailer_fields(event.headers)
            except PeerMisbehaved as error:
                self._reset(exchange, ErrorCodes.PROTOCOL_ERROR)
                exchange.fail(error)

    def _on_ended(self, event: Event) -> None:
        assert isinstance(event, StreamEnded)
        exchange = self._streams.get(event.stream_id)
        if exchange is not None:
            if exchange.body_left is not None or exchange.uploader is not None:
                # A complete response to an incomplete request: the server does not need the rest (RFC 9113, section
                # 8.1).
                self._reset(exchange, ErrorCodes.NO_ERROR)
            elif not exchange.received and lacks_body(exchange.request.method, exchange.status, exchange.headers):
                self._reset(exchange, ErrorCodes.PROTOCOL_ERROR)
                exchange.fail(PeerMisbehaved("the response has a content-length and no body"))
                return
            else:
                self._release(exchange)
            exchange.on_end()

    def _on_reset(self, event: Event) -> None:
        assert isinstance(event, StreamReset)
        exchange = self._streams.get(event.stream_id)
        if exchange is None:
            return
        self._release(exchange)
        if event.remote_reset:
            self.pool.statistics.resets_received += 1
        refused = event.error_code == ErrorCodes.REFUSED_STREAM
        if refused and self.pool.resend(exchange):
            return
        code = int(event.error_code)
        who = "the server reset the stream" if event.remote_reset else "the stream was reset for a broken window"
        exchange.fail(
            StreamWasReset(f"{who} with {_error_name(code)} ({self.pool.origin})", code=code, unprocessed=refused)
        )

    def _on_settings(self, event: Event) -> None:
        self._has_settings = True
        limit = self._engine.remote_settings.max_concurrent_streams
        self._limit = min(limit, self.pool.options.streams_per_connection)
        self._uploads.resume()
        self.pool.set_stream_limit(self._limit)

    def _on_window(self, event: Event) -> None:
        self._uploads.resume()

    def _on_goaway(self, frame: GoAwayFrame) -> None:
        """Retires the connection. Streams above the server's last one were not processed, and are sent again."""
        statistics = self.pool.statistics
        statistics.goaways_received += 1
        code, last = int(frame.error_code), int(frame.last_stream_id)
        self.pool.trace_event(
            "connection.goaway", {"code": _error_name(code), "last_stream": last, "streams": self.busy}
        )
        if code != ErrorCodes.NO_ERROR:
            debug = bytes(frame.additional_data)[:200].decode("utf-8", "replace")
            self.close_reason = f", after GOAWAY with {_error_name(code)}" + (f" ({debug})" if debug else "")
        if not self.retiring:
            self.retiring = True
            statistics.retired += 1
        # In the next turn: earlier frames of the same read are handled first.
        self.loop.call_soon(self._resend_above, last, code)

    def _resend_above(self, last: int, code: int) -> None:
        for exchange in [exchange for stream_id, exchange in self._streams.items() if stream_id > last]:
            self._release(exchange)
            if not self.pool.resend(exchange):
                message = f"{self.pool.origin} sent GOAWAY ({_error_name(code)}) before it processed the request"
                exchange.fail(ConnectionLost(message, unprocessed=True))
        if not self.busy:
            self.close()

    def _release(self, exchange: Exchange) -> None:
        """Releases an exchange whose stream has ended."""
        self._streams.pop(exchange.stream_id, None)
        self._uploads.discard(exchange)
        exchange.connection = None
        if not self._streams:
            self.idle_since = self.loop.time()
            if self.retiring:
                self.close()

    def _reset(self, exchange: Exchange, code: ErrorCodes) -> None:
        if exchange.stream_id in self._streams:
            try:
                self._engine.reset_stream(exchange.stream_id, code)
            except ProtocolError:
                pass  # both sides ended the stream at once
            self._release(exchange)
            self.flush_soon()


def _error_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"code {code}"


HANDLERS: dict[type[Event], Callable[[H2Connection, Event], None]] = {
    ResponseReceived: H2Connection._on_head,
    DataReceived: H2Connection._on_data,
    StreamEnded: H2Connection._on_ended,
    TrailersReceived: H2Connection._on_trailers,
    StreamReset: H2Connection._on_reset,
    RemoteSettingsChanged: H2Connection._on_settings,
    WindowUpdated: H2Connection._on_window,
}
