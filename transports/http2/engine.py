"""The `h2` state machine, set up for connections with many streams; the files that reach into `h2` are this one and
`server/h2_engine.py`.

Measured with requests and responses of five to ten headers, `h2` as it comes takes 118 us a call; with what is replaced
here it takes 55.
"""

import struct
from collections.abc import Callable, Sequence

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionInputs, H2Connection
from h2.events import Event
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy, StreamInputs
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame

from transports.http2.frame_reader import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, FrameReader
from transports.http2.header_cache import CachingDecoder, CachingEncoder
from transports.http2.options import PoolOptions
from transports.http2.request import Header

# All streams share the connection's window, and a slow stream must not use it up: bytes are given back when they
# arrive, and the windows of the streams bound the memory.
CONNECTION_WINDOW = 16 * 1024 * 1024
DEFAULT_WINDOW = 65_535
FORGET_CLOSED_EVERY = 64
PROVOKED = 3  # a window for the stream, one for the connection, and a PING: a peer may answer each frame so
FRAME_HEADER = struct.Struct(">HBBBL")


class HTTP2Engine(H2Connection):
    """One HTTP/2 connection, without I/O: what both sides send, without the checks and copies that are not needed."""

    incoming_buffer: FrameReader  # type: ignore[assignment]  # takes the place of that of h2

    def _write_head(self, stream_id: int, head: Sequence[Header], *, ends: bool) -> None:
        """A header block in as many frames as it needs."""
        self.incoming_buffer.provoked += PROVOKED
        block = self.encoder.encode(head)
        limit = self.max_outbound_frame_size
        kind, flags = HEADERS, END_STREAM if ends else 0
        while len(block) > limit:
            self._data_to_send += _frame_header(limit, kind, flags, stream_id) + block[:limit]
            block, kind, flags = block[limit:], CONTINUATION, 0
        self._data_to_send += _frame_header(len(block), kind, flags | END_HEADERS, stream_id) + block

    def send_piece(self, stream_id: int, data: bytes | memoryview, *, ends: bool) -> None:
        """A piece of a body that fits into the windows and into one frame."""
        size = len(data)
        self.incoming_buffer.provoked += PROVOKED
        stream = self.streams[stream_id]
        stream.state_machine.process_input(StreamInputs.SEND_DATA)
        if ends:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        stream.outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        self._data_to_send += _frame_header(size, DATA, END_STREAM if ends else 0, stream_id)
        self._data_to_send += data
        self.incoming_buffer.sent_data()


class ClientEngine(HTTP2Engine):
    """The client's side of a connection."""

    def __init__(self, options: PoolOptions, on_goaway: Callable[[GoAwayFrame], None]) -> None:
        # `heads` checks requests and responses, so that a malformed response ends its stream; h2 would end the
        # connection.
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        limits = options.limits
        self.encoder = CachingEncoder()
        self.decoder = CachingDecoder()
        self.decoder.max_header_list_size = limits.header_bytes
        self.incoming_buffer = FrameReader(limits, on_goaway, lambda: self.highest_outbound_stream_id)
        self.max_inbound_frame_size = limits.frame_bytes
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: options.stream_window,
                SettingCodes.MAX_FRAME_SIZE: limits.frame_bytes,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
            },
        )
        del self.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._opened = 0
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - DEFAULT_WINDOW)

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        """Ignores data that arrives after this side reset the stream, except for the window that it took.

        h2 answers each such frame with one more RST_STREAM, and servers that guard against rapid resets count them.
        """
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if self._stream_closed_by(frame.stream_id) is StreamClosedBy.SEND_RST_STREAM:
            frames = [frame for frame in frames if not isinstance(frame, RstStreamFrame)]
        return frames, events

    def open_stream(self, stream_id: int, head: Sequence[Header], *, ends: bool) -> None:
        """Sends the head of a request. Replaces `send_headers`, which checks and copies a head that is correct."""
        self._opened += 1
        if self._opened % FORGET_CLOSED_EVERY == 0:
            # Counting all its streams is also how h2 forgets the closed ones; send_headers would do it each time.
            self.open_outbound_streams  # noqa: B018
        self.state_machine.process_input(ConnectionInputs.SEND_HEADERS)
        stream = self._begin_new_stream(stream_id, AllowedStreamIDs.ODD)
        stream.request_method = head[0][1]  # the response to HEAD has a length and no body
        stream.state_machine.process_input(StreamInputs.SEND_HEADERS)
        if ends:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        self._write_head(stream_id, head, ends=ends)


def _frame_header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    return FRAME_HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id)
