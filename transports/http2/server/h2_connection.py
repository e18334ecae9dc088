"""An HTTP/2 connection: many requests at once, each with its own flow control, limits and end."""

import asyncio
from collections.abc import Callable, Iterable

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from transports.http2.engine import CONNECTION_WINDOW
from transports.http2.errors import LimitExceeded
from transports.http2.frame_reader import FRAME_HEADER, SETTINGS
from transports.http2.heads import FORBIDDEN_IN_VALUE
from transports.http2.request import Header
from transports.http2.server.connection import AcceptedConnection, OwningServer
from transports.http2.server.cycle import Cycle
from transports.http2.server.deadlines import NEVER
from transports.http2.server.h2_engine import ServerEngine
from transports.http2.server.h2_head import CONNECTION_FIELDS, check_trailers, read_head
from transports.http2.server.h2_streams import PendingBody, Unwanted
from transports.http2.server.head import BadRequest, RequestHead

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST_REMEMBERED = 2_048  # bytes of the head that is compared with the next
GIVE_BACK_CONNECTION = CONNECTION_WINDOW // 4


class H2ServerConnection(AcceptedConnection):
    """asyncio on one side, the engine on the other."""

    def __init__(self, server: OwningServer) -> None:
        super().__init__(server)
        self._engine = ServerEngine(server.options, self._on_goaway)
        self._preface = b""  # what came of it; None once it is whole
        self._begun = False
        self._cycles: dict[int, Cycle] = {}
        self._outgoing: dict[int, PendingBody] = {}  # what waits for the client's windows
        self._unwanted: dict[int, Unwanted] = {}  # bodies of requests that have their response
        self._left: set[Cycle] = set()  # requests that the client reset, whose applications have not noticed
        self._whole = 0  # requests that are whole, and run
        self._unacknowledged = 0
        self._flushing = False
        self._last_id = 0  # the last stream that is served once the connection retires
        self._retiring = False
        self._last_headers: object = None
        self._last_head: RequestHead
        self._give_back = max(1, server.options.body_window // 2)
        self._active_at = self.loop.time()

    # The server's side

    def retire(self) -> None:
        if not self._retiring:
            self._retiring = True
            self._last_id = self._engine.highest_inbound_stream_id
            self._engine.say_goodbye(self._last_id)
            self._flush()
        self._close_if_done()

    def evict(self) -> None:
        self._engine.say_goodbye(self._engine.highest_inbound_stream_id)
        self._flush()
        self._drop_all()
        self.close()

    def timed_out(self, now: float) -> None:
        options = self.options
        if self.lingering:
            self.abort()
            return
        for cycle in [one for one in self._cycles.values() if not one.complete and self._body_deadline(one) <= now]:
            self._refuse(cycle, 408, "the body did not come whole, or too slowly")
        for stream_id in [key for key, one in self._outgoing.items() if one.moved_at + options.write_within <= now]:
            self._reset(stream_id, ErrorCodes.CANCEL)
        for stream_id in [key for key, one in self._unwanted.items() if one.until <= now]:
            self._reset(stream_id, ErrorCodes.NO_ERROR)
        if not self._cycles and not self._outgoing and now >= self._active_at + options.idle_after:
            self.retire()
            return
        self._flush()
        self._look_after()

    def _look_after(self) -> None:
        """Sets the deadline to the earliest of all."""
        options = self.options
        deadline = NEVER
        for cycle in self._cycles.values():
            if not cycle.complete:
                deadline = min(deadline, self._body_deadline(cycle))
        for outgoing in self._outgoing.values():
            deadline = min(deadline, outgoing.moved_at + options.write_within)
        for unwanted in self._unwanted.values():
            deadline = min(deadline, unwanted.until)
        if not self._cycles and not self._outgoing:
            deadline = min(deadline, self._active_at + options.idle_after)
        if self.writable and not self.closing and not self.lingering:
            self.set_deadline(deadline)

    def _not_later(self, deadline: float) -> None:
        """The connection is looked after by then."""
        if self.writable and not self.closing and not self.lingering and deadline < self.deadline:
            self.set_deadline(deadline)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self.lingering or self.closing:
            self.discard(len(data))
            return
        if not self._begun:
            data = self._read_preface(data)
            if not data:
                return
        try:
            events = self._engine.receive_data(data)
        except LimitExceeded:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        except ProtocolError:
            self._end(None)  # h2 has written why
            return
        for event in events:
            handler = HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        if self._unacknowledged >= GIVE_BACK_CONNECTION and not self.closing:
            self._engine.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_all()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.closing or self.lingering:
            return
        self.resume_reading()
        self._look_after()
        self._send_waiting()
        for cycle in list(self._cycles.values()):
            cycle.on_writable()

    def _read_preface(self, data: bytes) -> bytes:
        """The preface, and SETTINGS as the first frame."""
        data = self._preface + data
        if not PREFACE.startswith(data[: len(PREFACE)]):
            self._end(ErrorCodes.PROTOCOL_ERROR)
        elif len(data) < len(PREFACE) + FRAME_HEADER:
            self._preface = data
        elif data[len(PREFACE) + 3] != SETTINGS:
            self._end(ErrorCodes.PROTOCOL_ERROR)
        else:
            self._begun = True
            self._preface = b""
            return data[len(PREFACE) :]
        return b""

    # Events

    def _on_request(self, event: Event) -> None:
        assert isinstance(event, RequestReceived)
        stream_id = event.stream_id
        options = self.options
        if self._retiring and stream_id > self._last_id:
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if len(self._cycles) + len(self._left) >= options.streams:
            self._left = {one for one in self._left if one.task is not None and not one.task.done()}
            if len(self._cycles) + len(self._left) >= options.streams:
                self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
                return
        ended = event.stream_ended is not None
        try:
            if event.headers == self._last_headers:
                head = self._last_head  # clients send the same again and again; to compare costs less than to check
            else:
                head = read_head(event.headers, options.head_bytes, options.head_fields)
                if sum(len(value) for _, value in event.headers) <= MOST_REMEMBERED:
                    self._last_headers, self._last_head = event.headers, head
            if ended and head.content_length:
                raise BadRequest(0, "the body is shorter than content-length")
            if options.body_bytes is not None and (head.content_length or 0) > options.body_bytes:
                raise BadRequest(413, f"the body is longer than {options.body_bytes} bytes")
        except BadRequest as error:
            self._refuse_head(stream_id, error, ended)
            return
        cycle = Cycle(self, self.loop, head)
        cycle.stream_id = stream_id
        self._cycles[stream_id] = cycle
        if not ended:
            cycle.received_since = self.loop.time()
            self._not_later(self._body_deadline(cycle))
            self.server.incomplete(cycle)
        self.server.answer(cycle)

    def _on_data(self, event: Event) -> None:
        assert isinstance(event, DataReceived)
        size = event.flow_controlled_length
        self._unacknowledged += size
        cycle = self._cycles.get(event.stream_id)
        if cycle is None:
            unwanted = self._unwanted.get(event.stream_id)
            if unwanted is not None and event.stream_ended is None:
                if unwanted.took(size) > self.options.discard_bytes:
                    self._reset(event.stream_id, ErrorCodes.NO_ERROR)
                else:
                    self._give(event.stream_id, size)
            return
        limit = self.options.body_bytes
        if limit is not None and cycle.body_size + len(event.data) > limit:
            self._refuse(cycle, 413, f"the body is longer than {limit} bytes")
            return
        if event.data:
            cycle.on_body(event.data)
        if size > len(event.data) and event.stream_ended is None:
            self._give(event.stream_id, size - len(event.data))  # padding

    def _on_ended(self, event: Event) -> None:
        assert isinstance(event, StreamEnded)
        cycle = self._cycles.get(event.stream_id)
        if cycle is None:
            self._unwanted.pop(event.stream_id, None)
            return
        if not cycle.open_ended:
            self._runs(cycle)
        cycle.on_complete()

    def _runs(self, cycle: Cycle) -> None:
        """The request waits for its answer, and for nothing of its client."""
        self.server.complete(cycle)
        self._whole += 1
        if self._whole == 1:
            self.server.busy(self)

    def _on_trailers(self, event: Event) -> None:
        assert isinstance(event, TrailersReceived)
        try:
            check_trailers(event.headers)
        except BadRequest:
            self._reset(event.stream_id, ErrorCodes.PROTOCOL_ERROR)

    def _on_reset(self, event: Event) -> None:
        assert isinstance(event, StreamReset)
        self._forget(event.stream_id, gone=True)

    def _on_window(self, event: Event) -> None:
        self._send_waiting()

    def _on_goaway(self, frame: GoAwayFrame) -> None:
        """The client opens no more streams. Those that run go on to their end."""
        self.loop.call_soon(self.retire)

    # Responses: the cycle's side

    def answer(self, cycle: Cycle, status: int, headers: tuple[Header, ...], body: bytes) -> bool:
        return False

    def start_response(self, cycle: Cycle, status: int, headers: Iterable[Header], body: bytes, ends: bool) -> None:
        fields: list[Header] = [(b":status", b"%d" % status)]
        dated = sized = False
        for name, value in headers:
            name = name.lower()
            if name in CONNECTION_FIELDS:
                continue
            if name == b"content-length":
                cycle.left, sized = int(value), True
            elif name == b"date":
                dated = True
            if FORBIDDEN_IN_VALUE.search(value) or FORBIDDEN_IN_VALUE.search(name):
                raise RuntimeError("a header of the response holds a line end")
            fields.append((name, value))
        if ends and not sized and not cycle.bodiless:
            fields.append((b"content-length", b"%d" % len(body)))
        if not dated:
            fields.append((b"date", self.server.date()))
        if not self._is_open(cycle):
            return
        closes = ends and not body
        self._engine.respond(cycle.stream_id, fields, ends=closes)
        if closes:
            self._finished(cycle)
        elif body or ends:
            self.write(cycle, body, ends)
        else:
            self._flush_soon()

    def write(self, cycle: Cycle, body: bytes, ends: bool) -> None:
        if not self._is_open(cycle):
            return
        if cycle.left is not None and not cycle.bodiless:
            cycle.left -= len(body)
            if cycle.left < 0:
                raise RuntimeError("the body is longer than the response's content-length")
            if ends and cycle.left:
                self._reset(cycle.stream_id, ErrorCodes.INTERNAL_ERROR)
                return
        outgoing = self._outgoing.get(cycle.stream_id)
        if outgoing is not None:
            outgoing.add(body, ends)
        else:
            outgoing = PendingBody(body, ends, self.loop.time)
            if not self._send_outgoing(cycle.stream_id, outgoing):
                self._outgoing[cycle.stream_id] = outgoing
                self._not_later(outgoing.moved_at + self.options.write_within)
        if ends:
            self._finished(cycle)
        self._flush_soon()

    def end_with_trailers(self, cycle: Cycle, trailers: list[Header]) -> None:
        if not self._is_open(cycle):
            return
        outgoing = self._outgoing.get(cycle.stream_id)
        if outgoing is not None:
            outgoing.trailers = trailers
        else:
            self._engine.respond(cycle.stream_id, trailers, ends=True)
        self._finished(cycle)
        self._flush_soon()

    def blocked(self, cycle: Cycle) -> bool:
        return not self.writable or cycle.stream_id in self._outgoing

    def consumed(self, cycle: Cycle, size: int) -> None:
        if size:
            cycle.unacknowledged += size
            if not cycle.complete:
                self._not_later(self._body_deadline(cycle))
            if cycle.unacknowledged >= self._give_back:
                size, cycle.unacknowledged = cycle.unacknowledged, 0
                self._give(cycle.stream_id, size)
        elif cycle.expects_continue and not cycle.body_size and not cycle.started:
            cycle.expects_continue = False
            cycle.received_since = self.loop.time()
            self._not_later(self._body_deadline(cycle))
            if self._is_open(cycle):
                self._engine.respond_continue(cycle.stream_id)
                self._flush_soon()

    def leave_open(self, cycle: Cycle) -> None:
        if cycle.stream_id in self._cycles:
            self._runs(cycle)

    def give_up(self, cycle: Cycle, why: str) -> None:
        if cycle.stream_id in self._cycles:
            self._refuse(cycle, 408, why)

    def fail(self, cycle: Cycle) -> None:
        self._reset(cycle.stream_id, ErrorCodes.INTERNAL_ERROR)

    # Sending within the windows

    def _send_outgoing(self, stream_id: int, outgoing: PendingBody) -> bool:
        """Sends what the windows allow; True when that was all."""
        engine = self._engine
        stream = engine.streams.get(stream_id)
        if stream is None:
            return True
        limit = engine.max_outbound_frame_size
        while True:
            size = min(stream.outbound_flow_control_window, engine.outbound_flow_control_window, limit)
            piece, last = outgoing.take(size if self.writable else 0)
            if piece or last:
                engine.send_piece(stream_id, piece, ends=last and outgoing.trailers is None)
                engine.reader.window_credit += 2
                outgoing.moved_at = self.loop.time()
            if last or outgoing.empty:
                if outgoing.empty and outgoing.trailers is not None:
                    engine.respond(stream_id, outgoing.trailers, ends=True)
                return True
            if not piece:
                return False

    def _send_waiting(self) -> None:
        for stream_id, outgoing in list(self._outgoing.items()):
            if not self.writable or self._engine.outbound_flow_control_window <= 0:
                break
            del self._outgoing[stream_id]
            if not self._send_outgoing(stream_id, outgoing):
                self._outgoing[stream_id] = outgoing  # behind the others: each gets its turn
                continue
            cycle = self._cycles.get(stream_id)
            if cycle is not None:
                cycle.on_writable()
        self._flush_soon()
        self._close_if_done()

    def _give(self, stream_id: int, size: int) -> None:
        """The client may send as many bytes more."""
        stream = self._engine.streams.get(stream_id)
        if size and stream is not None and not stream.closed:
            self._engine.increment_flow_control_window(size, stream_id)
            self._flush_soon()

    def _is_open(self, cycle: Cycle) -> bool:
        stream = self._engine.streams.get(cycle.stream_id)
        return stream is not None and not stream.closed and cycle.stream_id in self._cycles and not self.closing

    def _flush_soon(self) -> None:
        """All that one turn of the loop produces leaves in one write."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._engine.data_to_send()
        if data and self.transport is not None and not self.closing and not self.lingering:
            self.transport.write(data)

    # Ends

    def _finished(self, cycle: Cycle) -> None:
        """The response is given; what is left of it waits for the client's windows."""
        if not cycle.complete:
            until = self.loop.time() + self.options.discard_within
            self._unwanted[cycle.stream_id] = Unwanted(until)
            self._give(cycle.stream_id, cycle.unacknowledged + cycle.held)
            self._not_later(until)
        self._forget(cycle.stream_id, gone=False)
        self._flush_soon()

    def _forget(self, stream_id: int, *, gone: bool) -> None:
        cycle = self._cycles.pop(stream_id, None)
        if gone:
            self._outgoing.pop(stream_id, None)
            self._unwanted.pop(stream_id, None)
        if cycle is not None:
            self.server.complete(cycle)
            if gone and not cycle.ended:
                cycle.on_gone()
                self._left.add(cycle)
            if cycle.complete or cycle.open_ended:
                self._whole -= 1
                if not self._whole:
                    self.server.idle(self)
        if not self._cycles:
            self._active_at = self.loop.time()
            self._close_if_done()
            if not self.closing:
                self._not_later(self._active_at + self.options.idle_after)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self._engine.reset_stream(stream_id, code)
        except ProtocolError:
            pass  # both sides ended it in the same moment
        self._forget(stream_id, gone=True)
        self._flush_soon()

    def _refuse(self, cycle: Cycle, status: int, why: str) -> None:
        """Answers in the application's place."""
        stream_id = cycle.stream_id
        if cycle.started or not self._is_open(cycle):
            self._reset(stream_id, ErrorCodes.CANCEL)
            return
        self._forget(stream_id, gone=True)
        self._refuse_head(stream_id, BadRequest(status, why), False)

    def _refuse_head(self, stream_id: int, error: BadRequest, ended: bool) -> None:
        if not error.status:
            self._reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        text = error.why.encode("utf-8") + b"\n"
        head = [
            (b":status", b"%d" % error.status),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"date", self.server.date()),
        ]
        self._engine.respond(stream_id, head, ends=False)
        outgoing = PendingBody(text, True, self.loop.time)
        if not self._send_outgoing(stream_id, outgoing):
            self._outgoing[stream_id] = outgoing
        if not ended:
            self._unwanted[stream_id] = Unwanted(self.loop.time() + self.options.discard_within)
        self._look_after()
        self._flush_soon()

    def _end(self, code: ErrorCodes | None) -> None:
        """The connection ends with GOAWAY; None: h2 has written it."""
        if self.closing or self.lingering:
            return
        if code is not None:
            self._engine.say_goodbye(self._engine.highest_inbound_stream_id, code)
        self._flush()
        self._drop_all()
        self.linger()

    def _drop_all(self) -> None:
        cycles = list(self._cycles.values())
        self._cycles.clear()
        self._outgoing.clear()
        self._unwanted.clear()
        self._left.clear()
        for cycle in cycles:
            self.server.complete(cycle)
            if not cycle.ended:
                cycle.on_gone()

    def _close_if_done(self) -> None:
        if self._retiring and not self._cycles and not self._outgoing and not self.closing:
            self._flush()
            self.close()

    def _body_deadline(self, cycle: Cycle) -> float:
        if cycle.open_ended or cycle.held >= self.options.body_window:
            return NEVER  # the application lets it take its time, or does not take it
        if cycle.expects_continue and not cycle.body_size:
            return NEVER  # the application has not asked for it
        options = self.options
        return cycle.received_since + options.body_grace + cycle.body_size / options.body_rate


HANDLERS: dict[type[Event], Callable[[H2ServerConnection, Event], None]] = {
    RequestReceived: H2ServerConnection._on_request,
    DataReceived: H2ServerConnection._on_data,
    StreamEnded: H2ServerConnection._on_ended,
    TrailersReceived: H2ServerConnection._on_trailers,
    StreamReset: H2ServerConnection._on_reset,
    RemoteSettingsChanged: H2ServerConnection._on_window,
    WindowUpdated: H2ServerConnection._on_window,
}
