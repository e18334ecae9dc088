"""Heads of HTTP/1.1 that were read before: a client sends the same again and again, but for the length of the body.

A head is known by its bytes without that number, so that it is told apart from any other; one whose length is no number
is read anew. What was refused is not kept.
"""

from transports.http2.server.h1_head import MOST_DIGITS, read_head
from transports.http2.server.head import RequestHead

MOST = 256  # heads that are known
MOST_BYTES = 2_048  # of one that is kept
_BEFORE = frozenset((b"\r\ncontent-l", b"\r\nContent-L"))  # as clients write it
_NAME, _START = b"ength: ", len(b"\r\ncontent-l")


class KnownHeads:
    """Reads the heads of one server's requests."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, block: bytes, most_fields: int) -> RequestHead:
        """The head up to, and with, the CRLF of its last line; BadRequest where it is refused."""
        likeness, length = block, None
        at = block.find(_NAME)
        if at >= _START and block[at - _START : at] in _BEFORE:
            at += len(_NAME)
            end = block.find(b"\r", at)
            digits = block[at:end]
            if not digits.isdigit() or len(digits) > MOST_DIGITS:
                return read_head(block, most_fields)  # without a number it is like one whose number was taken out
            likeness, length = block[:at] + block[end:], digits
        known = self._known.get(likeness)
        if known is None:
            known = read_head(block, most_fields)
            if len(block) <= MOST_BYTES:
                if len(self._known) >= MOST:
                    self._known.clear()
                self._known[likeness] = known
        elif length is not None and known.content_length != int(length):
            return known.of_length(length)
        return known
