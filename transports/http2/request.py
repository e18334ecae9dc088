"""Requests: origin, request, time limits. Values only, no I/O."""

from collections.abc import AsyncIterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from transports.http2.errors import InvalidRequest, UnsupportedScheme

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

DEFAULT_PORTS = {"http": 80, "https": 443}
# Headers with API keys: never shown in a repr, a trace or an error.
SECRET_HEADERS = frozenset(
    (
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"cookie",
        b"set-cookie",
    )
)


class Origin(NamedTuple):
    """Scheme, host and port of a server. Requests to one origin share its connections."""

    scheme: str
    host: str  # without brackets, in ASCII (IDNA)
    port: int

    @property
    def authority(self) -> bytes:
        """Value of `:authority` and `Host`, without the port if it is the scheme's default."""
        return _authority(self)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode()}"


@lru_cache(maxsize=1024)
def _authority(origin: Origin) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    port = "" if DEFAULT_PORTS.get(origin.scheme) == origin.port else f":{origin.port}"
    return (host + port).encode("ascii")


@lru_cache(maxsize=1024)
def split_url(url: str) -> tuple[Origin, bytes]:
    """Splits `https://host/v1/x?y=z` into its origin and the target `/v1/x?y=z`.

    Results are cached, because a program calls few URLs often.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"{url!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise UnsupportedScheme(f"the URL {url!r} must begin with http:// or https://")
    if not parts.hostname:
        raise InvalidRequest(f"the URL {url!r} names no host")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("a URL must not carry a user or a password; send an authorization header instead")
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Origin(scheme, host, port or DEFAULT_PORTS[scheme]), target.encode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"the URL {url!r} holds characters that must be percent-encoded") from None


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of one call, in seconds; None for no limit. A limit that passes ends this call alone."""

    connect: float | None = 10.0  #: DNS, TCP, TLS and a proxy's CONNECT, together
    pool: float | None = 30.0  #: waiting for a free stream or connection
    write: float | None = 30.0  #: the peer takes no byte of the request's body for so long
    first_byte: float | None = 120.0  #: from the end of the request to the head of the response
    idle: float | None = 120.0  #: between two pieces of the response's body


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Header names in any case; the transport writes `host`, `connection` and `transfer-encoding`.

    A body of bytes gets a content-length, and can be sent again if the server certainly did not process it. An async
    iterator is sent once, with back-pressure.
    """

    method: bytes  #: HTTP method, such as b"POST"
    origin: Origin  #: server that gets the request
    target: bytes = b"/"  #: path and query, percent-encoded
    headers: Headers = ()  #: names and values
    body: bytes | AsyncIterable[bytes] = b""  #: body; an async iterator is sent as it comes

    @classmethod
    def to(cls, method: str, url: str, headers: Headers = (), body: bytes | AsyncIterable[bytes] = b"") -> "Request":
        """Builds a request to a URL."""
        origin, target = split_url(url)
        return cls(method=method.encode("ascii"), origin=origin, target=target, headers=headers, body=body)

    def __repr__(self) -> str:
        names = ", ".join(name.decode("latin-1") for name, _ in self.headers)
        size = f"{len(self.body)} bytes" if isinstance(self.body, bytes) else "a stream"
        path = self.target.partition(b"?")[0].decode("latin-1")  # a query can hold a key
        return f"<Request {self.method.decode()} {self.origin}{path} headers: {names}; body: {size}>"
