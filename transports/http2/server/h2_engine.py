"""The `h2` state machine, server side: responses without its detours, and limits that it does not have."""

from collections.abc import Callable, Iterable, Sequence

import hpack
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamInputs
from hyperframe.frame import Frame, GoAwayFrame

from transports.http2.engine import CONNECTION_WINDOW, DEFAULT_WINDOW, FORGET_CLOSED_EVERY, HTTP2Engine
from transports.http2.errors import LimitExceeded
from transports.http2.frame_reader import SETTINGS, FrameReader
from transports.http2.header_cache import CachingDecoder, CachingEncoder
from transports.http2.options import Limits
from transports.http2.request import Header
from transports.http2.server.options import ServerOptions

WINDOW_UPDATE = 0x8
MOST_SETTINGS = 64 * 6  # bytes of one SETTINGS frame
SMALL_FRAMES = 5  # of DATA, for each control frame that is allowed
# A head above the limit is answered with 431; one above this many times the limit ends the connection.
HARD_LIMIT = 2


class ServerFrameReader(FrameReader):
    """Frames of a client, counted."""

    peer = "client"
    resets_counted_over = 10.0
    least_data = 32

    def __init__(
        self, limits: Limits, on_goaway: Callable[[GoAwayFrame], None], last_opened: Callable[[], int]
    ) -> None:
        super().__init__(limits, on_goaway, last_opened)
        self.window_credit = 0  # WINDOW_UPDATEs that answer what was sent
        self._small = 0

    @property
    def in_block(self) -> bool:
        """Whether a header block has begun and not ended."""
        return bool(self._block)

    def _count_small(self, body: bytes) -> None:
        if not body:
            self._count_idle()
            return
        self._small += 1
        if self._small >= SMALL_FRAMES:
            self._small = 0
            self._count_idle()

    def _assemble(self, frame: Frame) -> Frame | None:
        kind = frame.type
        if kind == WINDOW_UPDATE and self.window_credit and not self._block:
            self.window_credit -= 1
            return frame
        if kind == SETTINGS and frame.body_len > MOST_SETTINGS:
            raise LimitExceeded("a SETTINGS frame without end")
        return super()._assemble(frame)


class CompressionFailed(ProtocolError):
    """A header block that HPACK cannot read: with it, all that follow are lost."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class StrictDecoder(CachingDecoder):
    """Says of a header block that it is none with the code that the protocol has for that, which `h2` does not.

    A server has many connections, and each remembers little.
    """

    most_blocks = 32
    longest_block = 1_024
    most_fields = 64

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        try:
            return super().decode(data, raw)
        except hpack.OversizedHeaderListError:
            raise
        except (hpack.HPACKError, IndexError, TypeError, UnicodeDecodeError) as error:
            raise CompressionFailed(f"a header block is malformed: {error}") from error


class ServerEngine(HTTP2Engine):
    """The server's side of a connection."""

    MAX_CLOSED_STREAMS = 1_024  # that are remembered, for frames that come late; h2 remembers 65,536, which is 7 MB

    def __init__(self, options: ServerOptions, on_goaway: Callable[[GoAwayFrame], None]) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        limits = Limits(
            header_bytes=HARD_LIMIT * options.head_bytes,
            frame_bytes=options.frame_bytes,
            resets_per_minute=int(options.resets_per_second * ServerFrameReader.resets_counted_over),
            control_frames_per_second=options.control_frames_per_second,
        )
        self.encoder = CachingEncoder()
        self.decoder = StrictDecoder()
        self.decoder.max_header_list_size = limits.header_bytes
        self.reader = ServerFrameReader(limits, on_goaway, lambda: self.highest_inbound_stream_id)
        self.incoming_buffer = self.reader
        self.max_inbound_frame_size = options.frame_bytes
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: options.streams,
                SettingCodes.INITIAL_WINDOW_SIZE: options.body_window,
                SettingCodes.MAX_FRAME_SIZE: options.frame_bytes,
                SettingCodes.MAX_HEADER_LIST_SIZE: options.head_bytes,
            },
        )
        self.remote_settings = Settings(client=True)
        self._opened = 0
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - DEFAULT_WINDOW)

    @property
    def open_inbound_streams(self) -> int:
        """h2 counts all streams for each new one, and ends the connection when there is one too many.

        The connection counts requests itself and refuses one; here the streams that are closed are forgotten.
        """
        self._opened += 1
        if self._opened % FORGET_CLOSED_EVERY == 0:
            self._open_streams(1)
        return 0

    def respond(self, stream_id: int, head: Sequence[Header], *, ends: bool) -> None:
        """The head of a response, or its trailers."""
        machine = self.streams[stream_id].state_machine
        machine.process_input(StreamInputs.SEND_HEADERS)
        if ends:
            machine.process_input(StreamInputs.SEND_END_STREAM)
        self._write_head(stream_id, head, ends=ends)

    def respond_continue(self, stream_id: int) -> None:
        """`100 Continue`."""
        self.streams[stream_id].state_machine.process_input(StreamInputs.SEND_INFORMATIONAL_HEADERS)
        self._write_head(stream_id, [(b":status", b"100")], ends=False)

    def say_goodbye(self, last_stream_id: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """GOAWAY, after which the streams up to the last one go on; to h2 it would be the end."""
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code))
        self._data_to_send += frame.serialize()
