"""Read the head of an HTTP/2 request, strictly (RFC 9113, section 8). Pure."""

from collections.abc import Iterable
from functools import lru_cache

from transports.http2.heads import FORBIDDEN_IN_VALUE, TARGET, TOKEN
from transports.http2.request import Header
from transports.http2.server.h1_head import AUTHORITY, MOST_DIGITS
from transports.http2.server.head import BadRequest, RequestHead

MALFORMED = 0  # the status of a request that is answered with RST_STREAM
PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
CONNECTION_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


def read_head(headers: Iterable[Header], most_bytes: int, most_fields: int) -> RequestHead:
    """The head. Header names must be in lower case, and pseudo-headers come first, once each."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[Header] = []
    host = length = None
    size = 0
    expects_continue = False
    for name, value in headers:
        size += len(name) + len(value) + 32
        if name[:1] == b":":
            if fields or name in pseudo or name not in PSEUDO:
                raise BadRequest(MALFORMED, f"the pseudo-header {name!r} is misplaced, repeated or unknown")
            pseudo[name] = value
            continue
        if (
            not (_is_name(name) if len(name) < 64 else _is_name.__wrapped__(name))
            or FORBIDDEN_IN_VALUE.search(value)
            or value != value.strip(b" \t")
        ):
            raise BadRequest(MALFORMED, f"the header {name!r} is malformed")
        if name == b"host":
            if host is not None:
                raise BadRequest(400, "two headers host")
            host = value
            continue
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > MOST_DIGITS:
                raise BadRequest(MALFORMED, "content-length must be one number of bytes")
            length = int(value)
        elif name == b"expect":
            expects_continue = value.lower() == b"100-continue"
        elif name == b"te" and value.lower() != b"trailers":
            raise BadRequest(MALFORMED, "the header te may only say trailers")
        fields.append((name, value))
    if size > most_bytes or len(fields) > most_fields:
        raise BadRequest(431, "the head of the request is too long")
    method, target = pseudo.get(b":method"), pseudo.get(b":path")
    if not method or not target or pseudo.get(b":scheme") is None or not TOKEN.fullmatch(method):
        raise BadRequest(MALFORMED, "a request has :method, :scheme and :path")
    if not TARGET.fullmatch(target) or (target[:1] != b"/" and (target != b"*" or method != b"OPTIONS")):
        raise BadRequest(MALFORMED, "the path is malformed")
    authority = pseudo.get(b":authority")
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise BadRequest(400, "host and :authority name different hosts")
    if authority is not None:
        if not AUTHORITY.fullmatch(authority):
            raise BadRequest(400, "the authority is malformed")
        fields.insert(0, (b"host", authority))
    head = RequestHead(method.decode("ascii"), target, "2", fields)
    head.content_length = length
    head.expects_continue = expects_continue
    return head


def check_trailers(headers: Iterable[Header]) -> None:
    """Trailers are checked and dropped."""
    for name, value in headers:
        if name[:1] == b":" or not _is_name(name) or FORBIDDEN_IN_VALUE.search(value):
            raise BadRequest(MALFORMED, "a trailer is malformed")


@lru_cache(maxsize=512)
def _is_name(name: bytes) -> bool:
    return bool(TOKEN.fullmatch(name)) and name == name.lower() and name not in CONNECTION_FIELDS
