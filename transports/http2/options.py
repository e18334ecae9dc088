"""Options of a pool: its resources, and the limits of a peer."""

import ssl
from dataclasses import dataclass, field
from typing import Literal

# auto: chosen by ALPN over TLS, HTTP/1.1 over plain TCP. h2: HTTP/2 alone; over plain TCP by prior knowledge (h2c).
Protocol = Literal["auto", "h2", "http/1.1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of what a peer may send; a connection whose peer sends more ends with LimitExceeded."""

    header_bytes: int = 65_536  #: bytes of one header block, decoded
    frame_bytes: int = 65_536  #: bytes of the largest frame; sent to the peer in SETTINGS
    resets_per_minute: int = 3_000  #: RST_STREAM frames of streams that had no response
    control_frames_per_second: int = 1_000  #: PING, SETTINGS, PRIORITY and empty frames: work without payload


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Options of a pool. Times are in seconds."""

    #: "h2": HTTP/2 alone, over plain TCP with prior knowledge; "auto": by ALPN over TLS, HTTP/1.1 over plain TCP
    protocol: Protocol = "auto"
    ssl_context: ssl.SSLContext | None = None  #: None: verifies against the authorities of the system or of certifi
    proxy: str | None = None  #: "http://[user:password@]host:port", for every origin
    trust_env: bool = True  #: reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR
    unix_socket: str | None = None  #: path of a socket to connect to instead of the origin's address
    local_address: str | None = None  #: address of this machine to connect from

    connections_per_origin: int = 100  #: most connections to one origin
    streams_per_connection: int = 1_000  #: most calls at once on an HTTP/2 connection; fewer where the server says so
    waiting_per_origin: int = 10_000  #: calls that wait for a stream; one more is PoolFull
    stream_window: int = 262_144  #: bytes of one response held for a slow consumer
    idle_after: float = 90.0  #: a connection without a call for so long is closed
    retire_after: float = 3_600.0  #: a connection older than this gets no new call
    ping_every: float = 20.0  #: HTTP/2: a connection silent for so long gets a PING
    ping_within: float = 10.0  #: HTTP/2: a connection that does not answer in this time is lost
    limits: Limits = field(default_factory=Limits)  #: what a peer may send
