"""What a NATS server says of itself when a connection is opened."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NatsServerInfo:
    """A server, as it is to this connection."""

    version: str
    max_payload: int
    """Bytes of one message that it takes."""
    jetstream: bool
    """Whether it keeps streams and values."""
    tls: bool
    """Whether the connection is encrypted."""
