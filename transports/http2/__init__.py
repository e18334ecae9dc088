"""HTTP/2 and HTTP/1.1 client with pooled connections, flow control, deadlines and cancellation.

The public API is described in docs/decisions/http2-core-api.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transports.http2.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    LimitExceeded,
    PeerMisbehaved,
    PoolClosed,
    PoolFull,
    ProxyFailed,
    StreamReset,
    TimedOut,
    TLSFailed,
    TransportError,
    UnsupportedScheme,
)
from transports.http2.exchange import Exchange
from transports.http2.ndjson import NDJSONDecoder
from transports.http2.options import Limits, PoolOptions
from transports.http2.pool import Pool
from transports.http2.request import Origin, Request, Timeouts, split_url
from transports.http2.response import Call, Reply, Response
from transports.http2.sse import ServerSentEvent, SSEDecoder
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace

if TYPE_CHECKING:
    from transports.http2.httpx2_adapter import HTTPX2Transport
    from transports.http2.httpx_adapter import HTTP2Transport

__all__ = [
    "Call",
    "ConnectFailed",
    "ConnectionLost",
    "Exchange",
    "HTTP2Transport",
    "HTTPX2Transport",
    "InvalidRequest",
    "LimitExceeded",
    "Limits",
    "NDJSONDecoder",
    "Origin",
    "OriginStatistics",
    "PeerMisbehaved",
    "Pool",
    "PoolClosed",
    "PoolFull",
    "PoolOptions",
    "ProxyFailed",
    "Reply",
    "Request",
    "Response",
    "SSEDecoder",
    "ServerSentEvent",
    "StreamReset",
    "TLSFailed",
    "TimedOut",
    "Timeouts",
    "Trace",
    "TransportError",
    "UnsupportedScheme",
    "split_url",
]

_ADAPTERS = {"HTTP2Transport": "httpx_adapter", "HTTPX2Transport": "httpx2_adapter"}


def __getattr__(name: str) -> Any:
    """Import an adapter at its first use: the core needs neither httpx nor httpx2."""
    if name in _ADAPTERS:
        return getattr(import_module(f"transports.http2.{_ADAPTERS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
