"""Plain calls of HTTP/1.1, which most calls to a server without TLS are: the whole request in one piece, and a response
that says its length. Pure.

`h11` reads and writes all others. For these it takes twice the time of everything else in a call together, so that they
are looked at here first: what is not plain beyond doubt is None, and left to it. Tests hold both against each other.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from transports.http2.request import Header

HEAD_END = b"\r\n\r\n"
_METHODS = frozenset((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"))  # any body may be in their answers
_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SENT = re.compile(rb"(?:" + _NAME + rb": (?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?\r\n)+")
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?\r\n")
_RECEIVED = re.compile(rb"(?:" + _NAME + rb":[\t -~\x80-\xff]*\r\n)*")
_NO_BODY = frozenset((204, 205, 304))
_FRAMING = frozenset((b"transfer-encoding", b"connection", b"upgrade", b"trailer"))
_MOST_DIGITS = 18  # of a length: less than 2**63


@lru_cache(maxsize=1024)
def request_block(head: tuple[Header, ...]) -> bytes | None:
    """The lines of a request whose head `request_head` has checked, without its content-length and the blank line."""
    (_, method), _, (_, authority), (_, target), *fields = head
    if method not in _METHODS or any(name in (b"expect", b"trailer") for name, _ in fields):
        return None
    lines = b"".join(b"%s: %s\r\n" % field for field in ((b"host", authority), *fields))
    if _SENT.fullmatch(lines) is None or lines.count(b"\r\n") != 1 + len(fields):
        return None
    return b"%s %s HTTP/1.1\r\n%s" % (method, target, lines)


class PlainHead(NamedTuple):
    """Head of a response, after which so many bytes of a body come; the connection stays open."""

    status: int
    reason: bytes
    headers: tuple[Header, ...]
    length: int


def read_response(head: bytes) -> PlainHead | None:
    """The head up to, and with, the CRLF of its last line."""
    line = _STATUS.match(head)
    if line is None or _RECEIVED.fullmatch(head, line.end()) is None:
        return None
    status = int(line[1])
    length: int | None = None
    headers: list[Header] = []
    for field in head[line.end() : -2].split(b"\r\n") if line.end() < len(head) else ():
        name, _, value = field.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = int(value)
        elif name in _FRAMING:
            return None
        headers.append((name, value))
    if length is None or status in _NO_BODY:
        return None
    return PlainHead(status, line[2] or b"", tuple(headers), length)
