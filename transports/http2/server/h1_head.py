"""Read the head of an HTTP/1.1 request, strictly. Pure.

What two readers of one head could understand differently is refused, because that is what request smuggling is made of:
two lengths, a length beside a transfer coding, a folded line, a line that ends in a bare LF, a space before a colon,
two hosts. `h11` accepts some of these and takes five times as long; tests hold this reader against it.
"""

import re
from functools import lru_cache

from transports.http2.request import Header
from transports.http2.server.head import BadRequest, RequestHead

HEAD_END = b"\r\n\r\n"
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([!-~]+) HTTP/([0-9]\.[0-9])\r\n")
# Nothing but whole fields, each a token, a colon and text without control characters.
FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
BARE_LF = re.compile(rb"(?<!\r)\n")
AUTHORITY = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
MOST_DIGITS = 18  # of a content-length: less than 2**63
FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host", b"connection", b"expect", b"upgrade"))


def read_head(block: bytes, most_fields: int) -> RequestHead:
    """The head up to, and with, the CRLF of its last line."""
    line = REQUEST_LINE.match(block)
    if line is None:
        raise BadRequest(400, "the request line is malformed")
    method, target, version = line.groups()
    if version not in (b"1.1", b"1.0"):
        raise BadRequest(505, "this server speaks HTTP/1.1, HTTP/1.0 and HTTP/2")
    start = line.end()
    if FIELDS.fullmatch(block, start) is None:
        raise BadRequest(400, "a header line is malformed")
    headers: list[Header] = []
    framing: list[Header] = []
    for field in block[start:-2].split(b"\r\n") if start < len(block) else ():
        name, _, value = field.partition(b":")
        name = name.lower()
        header = (name, value.strip(b" \t"))
        headers.append(header)
        if name in FRAMING:
            framing.append(header)
    if len(headers) > most_fields:
        raise BadRequest(431, f"more than {most_fields} header lines")
    host = b""
    if target[:1] != b"/":
        target, host = _other_target(method, target)
    head = RequestHead(_text(method), target, _text(version), headers)
    _apply(head, framing, host)
    return head


def _apply(head: RequestHead, framing: list[Header], host: bytes) -> None:
    """What the head says of its body and its connection."""
    hosts = 0
    head.keep_alive = head.http_version == "1.1"
    for name, value in framing:
        if name == b"host":
            hosts += 1
            if not AUTHORITY.fullmatch(value) or (host and value.lower() != host.lower()):
                raise BadRequest(400, "the header host is malformed, or another one than the target's")
        elif name == b"content-length":
            if head.content_length is not None:
                raise BadRequest(400, "two headers content-length")
            if not value.isdigit() or len(value) > MOST_DIGITS:
                raise BadRequest(400, "content-length must be a number of bytes")
            head.content_length = int(value)
        elif name == b"transfer-encoding":
            if head.chunked or head.http_version == "1.0":
                raise BadRequest(400, "transfer-encoding twice, or in HTTP/1.0")
            if value.lower() != b"chunked":
                raise BadRequest(501, "the only transfer coding here is chunked")
            head.chunked = True
        elif name == b"connection":
            words = [word.strip() for word in value.lower().split(b",")]
            if b"close" in words:
                head.keep_alive = False
            elif b"keep-alive" in words and head.http_version == "1.0":
                head.keep_alive = True
            if b"upgrade" in words and not head.upgrade:
                head.upgrade = b"?"  # which one, the header of that name says
        elif name == b"expect" and head.http_version == "1.1":
            if value.lower() != b"100-continue":
                raise BadRequest(417, "the only expectation here is 100-continue")
            head.expects_continue = True
    if head.chunked and head.content_length is not None:
        raise BadRequest(400, "content-length beside transfer-encoding")
    if hosts > 1 or (not hosts and head.http_version == "1.1"):
        raise BadRequest(400, "HTTP/1.1 has one header host")
    if head.upgrade:
        named = [value.lower() for name, value in framing if name == b"upgrade"]
        head.upgrade = named[0] if len(named) == 1 and head.http_version == "1.1" else b""


def _other_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """A target that is no path: a whole URL, or the asterisk of OPTIONS."""
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    for scheme in (b"http://", b"https://"):
        if target[: len(scheme)].lower() == scheme:
            host, slash, path = target[len(scheme) :].partition(b"/")
            if host and b"?" not in host and b"@" not in host:
                return slash + path if slash else b"/", host
    raise BadRequest(400, "the target must be a path")


@lru_cache(maxsize=64)
def _text(word: bytes) -> str:
    return word.decode("ascii")
