"""Limits and time-outs of the server; one frozen object."""

import ssl
from dataclasses import dataclass, fields

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server listens and what a client may do. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: the operating system chooses; `Server.port` says which."""
    reuse_port: bool = False
    """Whether other processes of this user may listen on the port too: the kernel shares new connections out."""
    path: str = ""
    """A Unix socket in place of host and port; a file that is left there by a server that ended is replaced."""
    ssl_context: ssl.SSLContext | None = None
    """TLS, with HTTP/2 and HTTP/1.1 offered by ALPN. None: plain TCP, HTTP/2 by prior knowledge."""
    backlog: int = 1024
    """Connections that the kernel holds until they are accepted."""

    connections: int = 10_000
    """Open connections. One more closes the connection that has been without a whole request for the longest time."""
    incomplete: int = 2_048
    """Requests that have begun and are not whole, of all connections; one more gives the oldest of them up with 408."""
    streams: int = 256
    """Requests of one HTTP/2 connection that run at once; one more is refused with REFUSED_STREAM."""

    head_within: float = 10.0
    """From the accepted connection to its first request's head, and as long for a TLS handshake before it; later from a
    head's first byte to its last."""
    idle_after: float = 75.0
    """A connection without a request for that long is closed; HTTP/2 with GOAWAY."""
    head_bytes: int = 65_536
    """Of a request's head; more is a 431."""
    head_fields: int = 256
    """Header lines of a request; more are a 431."""

    body_bytes: int | None = None
    """Of a request's body; more is a 413. None: the application's to limit."""
    body_grace: float = 10.0
    """A body may be without any byte for that long; afterwards `body_rate` counts."""
    body_rate: int = 1_024
    """Bytes a second that a body must have, on average; a slower one is a 408."""
    body_window: int = 262_144
    """Bytes of one request's body that are held until the application takes them."""
    discard_bytes: int = 64 * MIB
    """Of a body that nobody wants, read and thrown away after the response, so that the client reads the response."""
    discard_within: float = 10.0
    """Time for that; then the connection is closed, or the stream reset."""

    write_within: float = 60.0
    """A client that takes no byte of a response for that long is cut off."""
    write_buffer: int = 262_144
    """Bytes that wait for a slow client before the application has to wait."""

    frame_bytes: int = 65_536
    """The largest HTTP/2 frame; said to the client."""
    resets_per_second: int = 100
    """RST_STREAM from the client, on average over ten seconds; more end the connection with ENHANCE_YOUR_CALM."""
    control_frames_per_second: int = 300
    """PING, SETTINGS, PRIORITY, empty frames; more end the connection with ENHANCE_YOUR_CALM."""

    websocket_message_bytes: int = MIB
    """Of one message; more ends the WebSocket with 1009."""
    websocket_ping_every: float = 30.0
    """A WebSocket silent for that long is pinged, and closed when it stays silent for as long again."""

    close_within: float = 1.0
    """`Server.close()`: what applications have to end what still runs; then their tasks are cancelled."""

    def __post_init__(self) -> None:
        """A limit of nothing would serve nobody."""
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("port", "close_within", "discard_bytes", "discard_within") else 1e-9
            if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
                raise ValueError(f"{field.name} must be above 0, not {value}")
        if not 16_384 <= self.frame_bytes < 1 << 24:
            raise ValueError(f"frame_bytes is between 16384 and 16777215, not {self.frame_bytes}")
        if not 1 <= self.body_window < 1 << 31:
            raise ValueError(f"body_window is below 2147483648, not {self.body_window}")
