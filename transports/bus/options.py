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

    LOSSY = "lossy"  # the writer never waits; what was missed is reported as a Gap
    LATEST = "latest"  # of each topic only the newest message waiting is delivered
    RELIABLE = "reliable"  # the writer waits, up to a deadline; then this subscriber's process is evicted by name


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    policy: Policy = Policy.LOSSY
    replay: int = 0  # up to this many earlier messages of each writer, as far as they are still held
    on_event: Callable[[InBand], None] | None = None  # Gap, WriterGone, Evicted, in order with the messages
    subscriber: str = ""  # who subscribes, for receipts and status; one agent may hold many subscriptions


@dataclass(frozen=True, slots=True)
class Curve:
    """CURVE keys for tcp, in ZeroMQ's Z85 text. Never shown."""

    public: str
    secret: str = field(repr=False)
    server: str  # the registry's public key
    allowed: frozenset[str] | None = None  # on the member that hosts the registry: public keys that may join


@dataclass(frozen=True, slots=True)
class BusOptions:
    carrier: Literal["auto", "rings", "zmq"] = "auto"
    label: str = ""  # what people see; "host-1"
    create: bool = True  # False: joining a bus that nobody hosts is NoSuchBus
    join_within: float = 5.0
    endpoint: str = ""  # "tcp://HOST:PORT" of the registry: ZeroMQ between machines or network namespaces
    bind_host: str = ""  # with `endpoint`: the address that others reach this member at; loopback by default
    curve: Curve | None = None
    ring_bytes: int = 1 * MIB  # broadcast ring of a writer; memory is taken as it is used
    pair_bytes: int = 256 * KIB  # ring of a pair; the same
    # Payloads above travel in a segment of their own; never more than an eighth of the smaller ring, so that any record fits.
    inline_bytes: int = 32 * KIB
    payload_limit: int = 1024 * MIB
    pool_bytes: int = 64 * MIB  # large segments kept for re-use
    outbox_bytes: int = 8 * MIB  # what may wait for a peer or a reliable reader before Overloaded
    pending_calls: int = 65536  # calls in flight before Overloaded
    hold_within: float = 1.0  # how long a RELIABLE reader may hold up a writer before it is evicted
    pair_idle: float = 30.0  # a pair of rings unused for so long is given back
    linger: float = 300e-6  # longest time to look for the next message before sleeping, while that pays; 0: never
    recheck: float = 1.0  # backstop that looks for a missed wake-up; its counter must read 0
    drain_records: int = 512  # records handled before the loop gets a turn
    on_error: Callable[[str, BaseException], Any] | None = (
        None  # (where, exception) of a callback that raised; default: the loop's handler
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "inline_bytes", min(self.inline_bytes, self.ring_bytes // 8, self.pair_bytes // 8))
