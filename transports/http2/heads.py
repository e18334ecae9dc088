"""Heads of requests and responses for HTTP/2 and HTTP/1.1: checked, in lower case, cached.

Results are cached because a program has few different heads, and the check costs more than a look-up.
"""

import re
from functools import lru_cache

from transports.http2.errors import InvalidRequest, PeerMisbehaved
from transports.http2.request import Header, Headers, Origin, Request

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TARGET = re.compile(rb"[!-~]+")  # no space, no control characters, ASCII
FORBIDDEN_IN_VALUE = re.compile(rb"[\0\r\n]")
# Written by the transport, or meaningless on a connection that is shared (RFC 9113, section 8.2.2).
HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host"))
# Methods whose requests say how long an empty body is (RFC 9110, section 8.6).
EXPECTS_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


def request_head(request: Request) -> tuple[Header, ...]:
    """Builds `:method`, `:scheme`, `:authority`, `:path`, then the caller's headers without a content-length."""
    return _request_head(request.method, request.origin, request.target, tuple(request.headers))


@lru_cache(maxsize=1024)
def _request_head(method: bytes, origin: Origin, target: bytes, headers: tuple[Header, ...]) -> tuple[Header, ...]:
    if not TOKEN.fullmatch(method) or method == b"CONNECT":
        raise InvalidRequest(f"{method!r} is not a method that can be sent")
    if not TARGET.fullmatch(target) or target[:1] not in (b"/", b"*"):
        raise InvalidRequest("the target must begin with / and hold no spaces or control characters")
    authority = origin.authority
    fields: list[Header] = []
    for raw_name, value in headers:
        name = raw_name.lower()
        if not TOKEN.fullmatch(name):
            raise InvalidRequest(f"{raw_name!r} is not a header name")
        if FORBIDDEN_IN_VALUE.search(value) or value != value.strip(b" \t"):
            raise InvalidRequest(
                f"the value of the header {name.decode()!r} holds a line end, a zero byte or spaces at its ends"
            )
        if name == b"host":
            authority = value
        elif name == b"te":
            if value == b"trailers":
                fields.append((name, value))
        elif name not in HOP_BY_HOP and name != b"content-length":
            fields.append((name, value))
    return (
        (b":method", method),
        (b":scheme", origin.scheme.encode("ascii")),
        (b":authority", authority),
        (b":path", target),
        *fields,
    )


def body_length(request: Request) -> bytes | None:
    """Returns the content-length to send; None for a request without a body, and for a stream of unknown length."""
    body = request.body
    if isinstance(body, bytes):
        return b"%d" % len(body) if body or request.method in EXPECTS_BODY else None
    if not hasattr(body, "__aiter__"):
        raise InvalidRequest(f"a body is bytes or an async iterable of bytes, not {type(body).__name__}")
    for name, value in request.headers:
        if name.lower() == b"content-length":
            if not value.isdigit():
                raise InvalidRequest("content-length must be a number")
            return value
    return None


@lru_cache(maxsize=1024)
def response_head(headers: tuple[Header, ...]) -> tuple[int, tuple[Header, ...]]:
    """Reads status and fields of an HTTP/2 response; PeerMisbehaved if they are malformed (RFC 9113, 8.1.1)."""
    status = 0
    fields: list[Header] = []
    for name, value in headers:
        if name[:1] == b":":
            if name != b":status" or status or fields:
                raise PeerMisbehaved(f"the response has a misplaced or unknown pseudo-header {name!r}")
            if len(value) != 3 or not value.isdigit() or value < b"100":
                raise PeerMisbehaved(f"{value!r} is not a status")
            status = int(value)
        else:
            _check_field(name, value)
            fields.append((name, value))
    if not status:
        raise PeerMisbehaved("the response has no :status")
    return status, tuple(fields)


def lacks_body(method: bytes, status: int, headers: Headers) -> bool:
    """Whether a response without a body should have one. `h2` checks the length only of responses with DATA frames."""
    if method == b"HEAD" or status in (204, 304):
        return False
    return any(name == b"content-length" and value.strip(b"0") for name, value in headers)


def trailer_fields(headers: list[Header]) -> list[Header]:
    """Checks trailers; PeerMisbehaved if they are malformed."""
    for name, value in headers:
        if name[:1] == b":":
            raise PeerMisbehaved(f"trailers hold the pseudo-header {name!r}")
        _check_field(name, value)
    return [(name, value) for name, value in headers]


def _check_field(name: bytes, value: bytes) -> None:
    if not TOKEN.fullmatch(name) or name != name.lower():
        raise PeerMisbehaved(f"the response has a header whose name is malformed: {name!r}")
    if name in HOP_BY_HOP and name != b"host":
        raise PeerMisbehaved(f"the response has the header {name!r}, which HTTP/2 forbids")
    if FORBIDDEN_IN_VALUE.search(value):
        raise PeerMisbehaved(f"the value of the response's header {name!r} holds a line end or a zero byte")
