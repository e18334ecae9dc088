"""Frame reader: splits bytes into HTTP/2 frames, in front of `h2`.

`h2` takes frames from its buffer. This buffer replaces it, because three things must happen before `h2` gets a frame:
- A frame that is too long is refused by its nine-byte header, before all of it is held in memory. A header block that
  grows by CONTINUATION frames and a flood of frames without content are refused too.
- GOAWAY is kept from `h2`, which would end the connection. Streams up to the last one that the server names go on
  (RFC 9113, section 6.8).
- HEADERS and DATA, nearly all of the traffic, are built without sets of flag objects.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from h2.exceptions import FrameDataMissingError, FrameTooLargeError, ProtocolError
from hyperframe.exceptions import InvalidDataError, InvalidFrameError, InvalidPaddingError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
)

from transports.http2.errors import LimitExceeded
from transports.http2.options import Limits

FRAME_HEADER = 9
DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x8, 0x9
ACK = 0x1
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20
NO_FLAGS: frozenset[str] = frozenset()
ENDS_STREAM: frozenset[str] = frozenset(("END_STREAM",))
ENDS_HEADERS: frozenset[str] = frozenset(("END_HEADERS",))
ENDS_BOTH: frozenset[str] = ENDS_HEADERS | ENDS_STREAM
# Bytes that a header block may be longer on the wire than its decoded size: Huffman coding never expands, but size
# updates and representations take a few bytes each.
BLOCK_SLACK = 1_024
# WINDOW_UPDATE frames with which a peer may answer one DATA frame of ours, for its stream and for the connection.
UPDATES_A_FRAME = 4
MOST_UPDATES_DUE = 16_384


class FrameReader:
    """Replacement of `h2.connection.H2Connection.incoming_buffer`."""

    peer = "server"
    resets_counted_over = 60.0  # seconds in which `resets_per_minute` may come
    least_data = 1  # bytes; a smaller DATA frame that does not end its stream is counted

    def __init__(
        self, limits: Limits, on_goaway: Callable[[GoAwayFrame], None], last_opened: Callable[[], int]
    ) -> None:
        self.max_frame_size = limits.frame_bytes  # h2 sets it before each read
        self._limits = limits
        self._on_goaway = on_goaway
        self._last_opened = last_opened  # the highest stream that the client has opened
        self._data = bytearray()
        self._block: list[Any] = []  # HEADERS or PUSH_PROMISE and its CONTINUATIONs, until END_HEADERS
        self._block_size = 0
        self.provoked = 0  # frames without content that what this side sent may cause
        self._idle_frames = 0
        self._idle_since = 0.0
        self._updates_due = 0  # WINDOW_UPDATE frames that bodies of ours explain
        self._resets = 0
        self._resets_since = 0.0

    def add_data(self, data: bytes) -> None:
        """Adds bytes of the connection."""
        self._data += data

    def sent_data(self) -> None:
        """Notes a DATA frame of ours, which the peer answers with windows: a large body is no flood of its."""
        if self._updates_due < MOST_UPDATES_DUE:
            self._updates_due += UPDATES_A_FRAME

    def __iter__(self) -> Iterator[Frame]:
        """Yields all complete frames, in order."""
        data = self._data
        position, size = 0, len(data)
        try:
            while size - position >= FRAME_HEADER:
                length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
                if length > self.max_frame_size:
                    if data[position : position + 5] == b"HTTP/":
                        raise ProtocolError("it answers in HTTP/1.1; it does not speak HTTP/2 here")
                    raise FrameTooLargeError(f"a frame of {length} bytes; {self.max_frame_size} are allowed")
                end = position + FRAME_HEADER + length
                if end > size:
                    break
                kind, flags = data[position + 3], data[position + 4]
                stream_id = int.from_bytes(data[position + 5 : position + 9], "big") & 0x7FFFFFFF
                if kind == HEADERS and stream_id and not stream_id & 1:
                    raise ProtocolError("a stream with an even number was opened, though push is turned off")
                body = bytes(data[position + FRAME_HEADER : end])
                start, position = position, end
                if kind == DATA and not flags & PADDED and stream_id and not self._block:
                    if len(body) < self.least_data and not flags & END_STREAM:
                        self._count_small(body)
                    yield _Data(stream_id, body, flags)
                elif (
                    kind == HEADERS
                    and flags & END_HEADERS
                    and not flags & (PADDED | PRIORITY)
                    and stream_id
                    and not self._block
                ):
                    yield _Headers(stream_id, body, flags)
                else:
                    frame = self._assemble(_parse(bytes(data[start : start + FRAME_HEADER]), body))
                    if frame is not None:
                        yield frame
        finally:
            del data[:position]

    def _assemble(self, frame: Frame) -> Frame | None:
        """Joins header blocks, keeps GOAWAY back, counts what could be a flood."""
        if self._block:
            return self._continue(frame)
        if isinstance(frame, HeadersFrame | PushPromiseFrame):
            if "END_HEADERS" in frame.flags:
                return frame
            self._block = [frame]
            self._block_size = 0
            self._grow_block(len(frame.data))
            return None
        if isinstance(frame, GoAwayFrame):
            self._on_goaway(frame)
            return None
        if frame.type == RST_STREAM:
            if frame.stream_id > self._last_opened():
                raise ProtocolError("RST_STREAM for a stream that was never opened")
            self._count_reset()
        elif frame.type == WINDOW_UPDATE and self._updates_due:
            self._updates_due -= 1
        elif not isinstance(frame, DataFrame) or not (frame.data or "END_STREAM" in frame.flags):
            self._count_idle()
        return frame

    def _continue(self, frame: Frame) -> Frame | None:
        first = self._block[0]
        if not isinstance(frame, ContinuationFrame) or frame.stream_id != first.stream_id:
            raise ProtocolError("another frame came in the middle of a header block")
        self._block.append(frame)
        self._grow_block(len(frame.data))
        if "END_HEADERS" not in frame.flags:
            return None
        first.flags.add("END_HEADERS")
        first.data = b"".join(part.data for part in self._block)
        self._block = []
        whole: Frame = first
        return whole

    def _grow_block(self, size: int) -> None:
        self._block_size += size
        if self._block_size > self._limits.header_bytes + BLOCK_SLACK:
            raise LimitExceeded(f"a header block is longer than {self._limits.header_bytes} bytes")
        if not size or len(self._block) > 16:
            # A block within the limit needs few frames. Many small frames cost time for nothing.
            self._count_idle()

    def _count_small(self, body: bytes) -> None:
        """A DATA frame that carries next to nothing."""
        self._count_idle()

    def _count_idle(self) -> None:
        """A frame without content. Those that answer what this side sent, such as the windows and the PING that gRPC's
        servers give back for each request, are no flood."""
        if self.provoked:
            self.provoked = min(self.provoked, self._limits.control_frames_per_second) - 1
            return
        self._idle_frames += 1
        if self._idle_frames == 1:
            self._idle_since = time.monotonic()
        if self._idle_frames >= self._limits.control_frames_per_second:
            now = time.monotonic()
            if now - self._idle_since < 1.0:
                raise LimitExceeded(
                    f"the {self.peer} sent {self._idle_frames} frames without content within a second"
                    " (PING, SETTINGS, empty frames)"
                )
            self._idle_frames = 0

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets == 1:
            self._resets_since = time.monotonic()
        if self._resets >= self._limits.resets_per_minute:
            now = time.monotonic()
            if now - self._resets_since < self.resets_counted_over:
                raise LimitExceeded(
                    f"the {self.peer} reset {self._resets} streams within {self.resets_counted_over:g} s"
                )
            self._resets = 0


class _Data(DataFrame):
    """A DATA frame without padding. `h2` dispatches by `__class__` and takes the repr of every frame, logged or not."""

    __class__ = DataFrame  # type: ignore[assignment]

    def __init__(self, stream_id: int, body: bytes, flags: int) -> None:
        self.stream_id = stream_id
        self.flags = ENDS_STREAM if flags & END_STREAM else NO_FLAGS  # type: ignore[assignment]
        self.body_len = len(body)
        self.data = body
        self.pad_length = 0

    def __repr__(self) -> str:
        return "DATA"


class _Headers(HeadersFrame):
    """A HEADERS frame that is complete, without padding and priority."""

    __class__ = HeadersFrame  # type: ignore[assignment]

    def __init__(self, stream_id: int, body: bytes, flags: int) -> None:
        self.stream_id = stream_id
        self.flags = ENDS_BOTH if flags & END_STREAM else ENDS_HEADERS  # type: ignore[assignment]
        self.body_len = len(body)
        self.data = body
        self.pad_length = 0

    def __repr__(self) -> str:
        return "HEADERS"


def _parse(header: bytes, body: bytes) -> Frame:
    try:
        frame, _ = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(body))
    except InvalidPaddingError:
        raise
    except InvalidDataError as error:
        if header[3] == SETTINGS and header[4] & ACK and not any(header[5:]):
            raise FrameTooLargeError("an acknowledgement of SETTINGS has content") from error
        raise ProtocolError(f"a frame holds what it must not: {error}") from error
    except InvalidFrameError as error:
        raise FrameDataMissingError(f"a frame is too short: {error}") from error
    return frame
