"""Errors of the transport, one tree: errors of h2, h11, ssl and the operating system are translated into it.

    TransportError
    ├── InvalidRequest             HTTP cannot carry the request
    │   └── UnsupportedScheme
    ├── PoolClosed                 the pool was closed while, or before, the call was made
    ├── PoolFull                   too many calls already wait for this origin
    ├── ConnectFailed              no connection: name, route, refused
    │   ├── TLSFailed              certificate or handshake
    │   └── ProxyFailed            the proxy refused, or is of a kind that is not supported
    ├── TimedOut                   a deadline passed; `phase`: connect, pool, write, first_byte, idle or total
    ├── ConnectionLost             the connection ended before the response did
    ├── StreamReset                the peer ended the stream; `code` is HTTP/2's error code
    └── PeerMisbehaved             the response is not HTTP
        └── LimitExceeded          the response is HTTP, and longer than the limits allow

`unprocessed` is True where the server certainly did not process the request, so that sending it again is safe.
"""

from typing import Literal, Self

Phase = Literal["connect", "pool", "write", "first_byte", "idle", "total"]


class TransportError(Exception):
    """Base of all errors of this package. No message holds a header's value."""

    def __init__(self, message: str, *, unprocessed: bool = False) -> None:
        super().__init__(message)
        self.unprocessed = unprocessed

    def copy(self) -> Self:
        """A copy for another call, because a raised error collects its own traceback."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self.__cause__
        return twin


class InvalidRequest(TransportError, ValueError):
    """The request cannot be sent as it stands."""


class UnsupportedScheme(InvalidRequest):
    """The URL begins with neither http:// nor https://."""


class PoolClosed(TransportError):
    """The pool is closed."""


class PoolFull(TransportError):
    """The bounded queue of waiting calls is full."""


class ConnectFailed(TransportError):
    """No connection could be opened."""


class TLSFailed(ConnectFailed):
    """The TLS handshake failed."""


class ProxyFailed(ConnectFailed):
    """The proxy did not open a tunnel, or is of a kind that is not supported."""


class TimedOut(TransportError):
    """A deadline of the call passed. `phase` names it."""

    def __init__(self, message: str, *, phase: Phase, unprocessed: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.phase: Phase = phase


class ConnectionLost(TransportError):
    """The connection ended before the response did. `orderly`: the peer closed it, without an error of the network."""

    def __init__(self, message: str, *, unprocessed: bool = False, orderly: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.orderly = orderly


class StreamReset(TransportError):
    """The peer ended the stream with RST_STREAM. `code` is the error code of HTTP/2."""

    def __init__(self, message: str, *, code: int, unprocessed: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.code = code


class PeerMisbehaved(TransportError):
    """The peer broke the protocol."""


class LimitExceeded(PeerMisbehaved):
    """The peer sent more than the limits allow."""
