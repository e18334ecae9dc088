"""What a pool may use, and what it accepts from a peer."""

import ssl
from dataclasses import dataclass, field
from typing import Literal

# auto: what ALPN says over TLS, HTTP/1.1 over plain TCP. h2: only HTTP/2, which over plain TCP is prior knowledge (h2c).
Protocol = Literal["auto", "h2", "http/1.1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may send before the connection ends with LimitExceeded."""

    header_bytes: int = 65_536  # of one header block, decoded
    frame_bytes: int = 65_536  # the largest frame; told to the peer
    resets_per_minute: int = 3_000  # RST_STREAM from the server, with no response to show for it
    control_frames_per_second: int = 1_000  # PING, SETTINGS, PRIORITY and empty frames: work without payload


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How a pool behaves. Times in seconds."""

    protocol: Protocol = "auto"
    ssl_context: ssl.SSLContext | None = None  # None: verifies against the system's or certifi's authorities
    proxy: str | None = None  # http://[user:password@]host:port, for every origin
    trust_env: bool = True  # HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR
    unix_socket: str | None = None  # connect there instead of to the origin's address
    local_address: str | None = None

    connections_per_origin: int = 100
    streams_per_connection: int = 1_000  # or fewer, where the server says so
    waiting_per_origin: int = 10_000  # calls that wait for a stream; one more is PoolFull
    stream_window: int = 262_144  # bytes of one response held for a consumer that is slow
    idle_after: float = 90.0  # a connection without a call for that long is closed
    retire_after: float = 3_600.0  # no new call on a connection older than that
    ping_every: float = 20.0  # HTTP/2: a connection silent for that long is asked whether it lives
    ping_within: float = 10.0  # and lost when it does not answer in that time
    limits: Limits = field(default_factory=Limits)
