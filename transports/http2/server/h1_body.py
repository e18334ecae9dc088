"""Read the bodies of HTTP/1.1 requests: of a known length, or chunked. Pure.

body.feed(data) -> (piece, rest)     `rest` is None until the body is complete; then it is what follows the body
"""

import re

from transports.http2.server.h1_head import FIELDS
from transports.http2.server.head import BadRequest

# Sizes that no memory has are refused when they are read, not when they are added up.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
MOST_LINE = 256  # bytes of a chunk's line, extensions included
MOST_OVERHEAD = 16_384  # bytes of all extensions of a body: work without content
MOST_TRAILERS = 8_192


class LengthBody:
    """A body whose length was said."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The body's part of `data`, and the rest once the body is complete."""
        if len(data) < self.left:
            self.left -= len(data)
            return data, None
        if len(data) == self.left:
            self.left = 0
            return data, b""
        piece, rest = data[: self.left], data[self.left :]
        self.left = 0
        return piece, rest


class ChunkedBody:
    """A body in chunks; its trailer fields are checked and dropped."""

    __slots__ = ("_held", "_in_trailers", "_left", "_overhead")

    def __init__(self) -> None:
        self._held = b""  # a line that is not whole
        self._left = 0  # bytes of the chunk, and the two of its end
        self._overhead = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The body's part of `data`, and the rest once the body is complete."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            if self._in_trailers:
                rest = self._trailers(data[at:])
                return b"".join(pieces), rest
            if self._left > 2:
                piece = data[at : at + self._left - 2]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
            elif self._left:
                if data[at] != (13 if self._left == 2 else 10):
                    raise BadRequest(400, "a chunk is longer than it says")
                at += 1
                self._left -= 1
            else:
                line = CHUNK_LINE.match(data, at)
                if line is None:
                    self._hold(data[at:])
                    break
                length = int(line[1], 16)
                self._overhead += line.end() - line.end(1) - 2
                if self._overhead > MOST_OVERHEAD or line.end() - at > MOST_LINE:
                    raise BadRequest(400, "too many bytes of chunk extensions")
                at = line.end()
                self._in_trailers = not length
                self._left = length + 2 if length else 0
        return b"".join(pieces), None

    def _hold(self, line: bytes) -> None:
        """Keeps the beginning of a chunk's line; one that cannot become a line any more is refused."""
        if b"\n" in line or len(line) > MOST_LINE or not CHUNK_BEGIN.fullmatch(line):
            raise BadRequest(400, "the size of a chunk is malformed")
        self._held = line

    def _trailers(self, data: bytes) -> bytes | None:
        if data[:2] == b"\r\n":
            return data[2:]
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            if end > MOST_TRAILERS or FIELDS.fullmatch(data, 0, end + 2) is None:
                raise BadRequest(400, "the trailers are malformed or too long")
            return data[end + 4 :]
        if len(data) > MOST_TRAILERS or (b"\n" in data and FIELDS.match(data).end() == 0):  # type: ignore[union-attr]
            raise BadRequest(400, "the trailers are malformed or too long")
        self._held = data
        return None


CHUNK_BEGIN = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?")
