"""The heads of HTTP/1.1 responses. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from transports.http2.request import Header

_OF_THE_CONNECTION = frozenset((b"content-length", b"connection", b"transfer-encoding", b"date"))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@lru_cache(maxsize=64)
def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK`."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


def response_head(
    status: int,
    headers: Iterable[Header],
    length: int | None,
    http_version: str,
    bodiless: bool,
    keep_alive: bool,
    date: bytes,
) -> tuple[bytes, int | None, bool, bool]:
    """The head; the length of the body if it is known; whether it is chunked; whether the connection ends with it.

    `length`: of a body that is whole already.
    """
    block = status_line(status)
    lines = 2
    declared: int | None = None
    dated = False
    for name, value in headers:
        name = name.lower()
        if name == b"content-length":
            declared = int(value)
        elif name == b"connection":
            keep_alive = keep_alive and value.lower() != b"close"
            continue
        elif name == b"transfer-encoding":
            continue  # the connection's to say
        elif name == b"date":
            dated = True
        block += b"%b: %b\r\n" % (name, value)
        lines += 1
    chunked = False
    if declared is None and not bodiless:
        if length is not None:
            declared = length
            block += b"content-length: %d\r\n" % length
            lines += 1
        elif http_version == "1.1":
            chunked = True
            block += b"transfer-encoding: chunked\r\n"
            lines += 1
        else:
            keep_alive = False  # HTTP/1.0: such a body ends with its connection
    if not keep_alive:
        block += b"connection: close\r\n"
        lines += 1
    elif http_version == "1.0":
        block += b"connection: keep-alive\r\n"
        lines += 1
    if not dated:
        block += b"date: %b\r\n" % date
        lines += 1
    block += b"\r\n"
    if not block.count(b"\n") == block.count(b"\r") == block.count(b"\r\n") == lines:
        raise RuntimeError("a header of the response holds a line end")
    return block, declared, chunked, not keep_alive


@lru_cache(maxsize=64)
def _begun(status: int, headers: tuple[Header, ...]) -> bytes | None:
    """The lines of a head that are the same each time; None where one of them is the connection's to say."""
    lines = [status_line(status), *(b"%b: %b\r\n" % (name.lower(), value) for name, value in headers)]
    if any(name.lower() in _OF_THE_CONNECTION for name, _ in headers) or status in (204, 304):
        return None
    block = b"".join(lines)
    return block if block.count(b"\n") == block.count(b"\r") == block.count(b"\r\n") == len(lines) else None


def whole_head(status: int, headers: tuple[Header, ...], length: int, date: bytes) -> bytes | None:
    """The head of a whole response of HTTP/1.1 that leaves its connection open, whose first header comes again and
    again; None where `response_head` has to look at them."""
    begun = _begun(status, headers[:1])
    for name, value in headers[1:]:
        name, line = name.lower(), b"%b: %b\r\n" % (name.lower(), value)
        if begun is None or name in _OF_THE_CONNECTION or line.count(b"\n") != 1 or line.count(b"\r") != 1:
            return None
        begun += line
    return None if begun is None else b"%bcontent-length: %d\r\ndate: %b\r\n\r\n" % (begun, length, date)


def refusal(status: int, why: str, date: bytes) -> bytes:
    """A whole response in plain text."""
    text = why.encode("utf-8") + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    block, _, _, _ = response_head(status, headers, len(text), "1.1", False, False, date)
    return block + text
