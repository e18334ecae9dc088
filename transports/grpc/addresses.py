"""Addresses of servers of gRPC: `grpc://host:port` without TLS, `grpcs://host:port` with it, `grpc+unix:///path`."""

import ipaddress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from transports.http2 import InvalidRequest, Origin

PLAIN, TLS, UNIX = "grpc", "grpcs", "grpc+unix"
SCHEMES = (PLAIN, TLS, UNIX)
TLS_PORT = 443


class GrpcAddress(NamedTuple):
    """Address of a server: an origin of HTTP/2, and the socket where it is one of this machine."""

    origin: Origin
    unix_socket: str | None = None

    @property
    def private(self) -> bool:
        """Whether nobody reads along: over TLS, or on this machine."""
        return self.origin.scheme == "https" or self.unix_socket is not None or is_loopback(self.origin.host)


def is_address(url: str) -> bool:
    """Whether a URL is one of gRPC."""
    return url.partition("://")[0].lower() in SCHEMES


def read_address(url: str) -> GrpcAddress:
    """Reads an address; InvalidRequest for what is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidRequest(f"{url!r} is no address: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise InvalidRequest(f"the address {url!r} must begin with grpc://, grpcs:// or grpc+unix://")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidRequest("an address of gRPC is a host and a port; a key goes into metadata")
    if scheme == UNIX:
        path = unquote(parts.path)
        if host or not path.startswith("/"):
            raise InvalidRequest(f"the address {url!r} names no path: grpc+unix:///run/models.sock")
        return GrpcAddress(Origin("http", "localhost", 80), path)
    if not host or parts.path not in ("", "/"):
        raise InvalidRequest(f"the address {url!r} is a host and a port: {scheme}://host:50051")
    if scheme == PLAIN and port is None:
        raise InvalidRequest(f"the address {url!r} names no port: grpc://{host}:50051")
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"the address {url!r} holds a host that cannot be looked up") from None
    return GrpcAddress(Origin("http" if scheme == PLAIN else "https", name, port or TLS_PORT))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
