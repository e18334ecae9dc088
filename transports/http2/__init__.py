"""A pooled HTTP/2 and HTTP/1.1 client transport: lanes, flow control, cancellation. See docs/decisions/http2-core-api.md."""

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
from transports.http2.ndjson import NDJSONDecoder
from transports.http2.options import Limits, PoolOptions
from transports.http2.request import Origin, Request, Timeouts, split_url
from transports.http2.sse import ServerSentEvent, SSEDecoder
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace

__all__ = [
    "ConnectFailed",
    "ConnectionLost",
    "InvalidRequest",
    "LimitExceeded",
    "Limits",
    "NDJSONDecoder",
    "Origin",
    "OriginStatistics",
    "PeerMisbehaved",
    "PoolClosed",
    "PoolFull",
    "PoolOptions",
    "ProxyFailed",
    "Request",
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
