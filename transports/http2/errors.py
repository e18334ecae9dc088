"""One tree of errors; whatever h2, h11, ssl or the operating system raise becomes one of these here.

    TransportError
    ├── InvalidRequest             this side asked for something HTTP cannot carry
    │   └── UnsupportedScheme
    ├── PoolClosed                 the pool was closed while, or before, the call was made
    ├── PoolFull                   too many calls already wait for this origin
    ├── ConnectFailed              no connection: name, route, refused
    │   ├── TLSFailed              certificate or handshake
    │   └── ProxyFailed            the proxy refused, or is of a kind that is not supported
    ├── TimedOut                   `phase` says which: connect, pool, write, first_byte, idle
    ├── ConnectionLost             the peer went away in the middle
    ├── StreamReset                the peer ended this one stream; `code` is HTTP/2's
    └── PeerMisbehaved             what came is not HTTP
        └── LimitExceeded          it is HTTP, but more of it than the limits allow

`unprocessed` is True where the server certainly did nothing with the request, so that sending it again is safe.
"""

from typing import Literal, Self

Phase = Literal["connect", "pool", "write", "first_byte", "idle", "total"]


class TransportError(Exception):
    """Base of all that this package raises. The message says what happened; it never holds a header's value."""

    def __init__(self, message: str, *, unprocessed: bool = False) -> None:
        super().__init__(message)
        self.unprocessed = unprocessed

    def copy(self) -> Self:
        """The same error for another call: each one that is raised gathers a traceback of its own."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self.__cause__
        return twin


class InvalidRequest(TransportError, ValueError):
    """The request cannot be sent as it stands."""


class UnsupportedScheme(InvalidRequest):
    """Neither http nor https."""


class PoolClosed(TransportError):
    """The pool is closed."""


class PoolFull(TransportError):
    """The queue of waiting calls is bounded, and full."""


class ConnectFailed(TransportError):
    """No connection came about."""


class TLSFailed(ConnectFailed):
    """The TLS handshake failed."""


class ProxyFailed(ConnectFailed):
    """The proxy did not open the way."""


class TimedOut(TransportError):
    """One of the call's own limits passed."""

    def __init__(self, message: str, *, phase: Phase, unprocessed: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.phase: Phase = phase


class ConnectionLost(TransportError):
    """The connection ended before the response did. `orderly`: the peer closed it; nothing failed beneath."""

    def __init__(self, message: str, *, unprocessed: bool = False, orderly: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.orderly = orderly


class StreamReset(TransportError):
    """RST_STREAM from the peer."""

    def __init__(self, message: str, *, code: int, unprocessed: bool = False) -> None:
        super().__init__(message, unprocessed=unprocessed)
        self.code = code


class PeerMisbehaved(TransportError):
    """The peer broke the protocol."""


class LimitExceeded(PeerMisbehaved):
    """The peer sent more than this side is willing to hold."""
