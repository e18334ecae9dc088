"""How a member joins and how a subscriber wants its messages. Frozen; the defaults are what most programs want."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from transports.bus.events import InBand

KIB = 1024
MIB = 1024 * KIB


class Policy(enum.Enum):
    """What happens to a subscriber that is slower than its writers."""

    LOSSY = "lossy"  #: the writer never waits; what was missed is reported as a Gap
    LATEST = "latest"  #: of each topic only the newest message waiting is delivered
    RELIABLE = "reliable"  #: the writer waits, up to a deadline; then this subscriber's process is evicted by name


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """How a subscription gets its messages."""

    policy: Policy = Policy.LOSSY  #: what happens where the subscriber is slower than a writer
    replay: int = 0  #: earlier messages of each writer to begin with, as far as they are still held
    #: called with Gap, WriterGone and Evicted, in order with the messages
    on_event: Callable[[InBand], None] | None = None
    subscriber: str = ""  #: name of the subscriber in receipts and status; one agent may hold many subscriptions


@dataclass(frozen=True, slots=True)
class Curve:
    """CURVE keys for tcp, in ZeroMQ's Z85 text. Never shown."""

    public: str  #: this member's public key
    secret: str = field(repr=False)  #: this member's secret key
    server: str  #: the registry's public key
    allowed: frozenset[str] | None = None  #: for the registry's host: public keys that may join; None: any


@dataclass(frozen=True, slots=True)
class BusOptions:
    """How a process joins a bus, and what it may use there. Times in seconds, sizes in bytes."""

    #: shared-memory rings or ZeroMQ; "auto" takes rings where this machine has them
    carrier: Literal["auto", "rings", "zmq"] = "auto"
    label: str = ""  #: name of this member for people, such as "host-1"
    create: bool = True  #: False: joining a bus that nobody hosts is NoSuchBus
    join_within: float = 5.0  #: deadline of joining
    endpoint: str = ""  #: "tcp://HOST:PORT" of the registry: ZeroMQ between machines or network namespaces
    bind_host: str = ""  #: with `endpoint`: address that others reach this member at; "": loopback
    curve: Curve | None = None  #: keys that encrypt tcp
    ring_bytes: int = 1 * MIB  #: broadcast ring of this writer; memory is taken as it is used
    pair_bytes: int = 256 * KIB  #: ring of a pair of members; memory is taken as it is used
    #: largest payload inside a ring; a larger one has a segment of its own. At most an eighth of the smaller ring.
    inline_bytes: int = 32 * KIB
    payload_limit: int = 1024 * MIB  #: largest payload; one above is TooLarge
    pool_bytes: int = 64 * MIB  #: segments for large payloads that are kept for re-use
    outbox_bytes: int = 8 * MIB  #: what may wait for a peer or a reliable reader before Overloaded
    pending_calls: int = 65536  #: calls in flight before Overloaded
    hold_within: float = 1.0  #: time that a RELIABLE reader may hold up a writer before it is evicted
    pair_idle: float = 30.0  #: time after which an unused pair of rings is given back
    linger: float = 300e-6  #: longest look for the next message before sleeping, while that pays; 0: never
    recheck: float = 1.0  #: interval of the search for a missed wake-up, whose counter must read 0
    drain_records: int = 512  #: records handled before the event loop gets a turn
    #: called with (where, exception) of a callback that raised; None: the exception handler of the event loop
    on_error: Callable[[str, BaseException], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inline_bytes", min(self.inline_bytes, self.ring_bytes // 8, self.pair_bytes // 8))
