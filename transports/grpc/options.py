"""Options of a channel."""

from dataclasses import dataclass, field

from transports.grpc.framing import MOST_BYTES
from transports.http2 import PoolOptions, Timeouts

# Servers on grpcio end a connection with more PINGs than one in five minutes.
PING_EVERY = 310.0
PATIENT = Timeouts(pool=None, first_byte=None, idle=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """Options of a channel. Times are in seconds."""

    #: HTTP/2 below it; `protocol` and `unix_socket` follow the address, and `ping_every` is what servers allow
    pool: PoolOptions = field(default_factory=lambda: PoolOptions(ping_every=PING_EVERY))
    metadata: tuple[tuple[bytes, bytes], ...] = ()  #: sent with each call; names in lower case
    insecure: bool = False  #: whether a server of another machine may be called without TLS
    compress: bool = False  #: whether messages of a kilobyte or more are sent with gzip; those received may always be
    most_bytes: int = MOST_BYTES  #: bytes of one message that may be received
    timeouts: Timeouts = PATIENT  #: limits of the parts of a call; all of it has its deadline
    user_agent: bytes = b"three-mode"  #: how it introduces itself
