"""Options of members and of subscriptions. Frozen; the defaults suit most programs."""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from transports.bus.events import InBand

KIB = 1024
MIB = 1024 * KIB
LONGEST_SPIN = 1.0  # seconds


class Policy(enum.Enum):
    """Treatment of a subscriber that is slower than its writers."""

    LOSSY = "lossy"
    """The writer never waits; messages that are missed are reported as a Gap."""
    LATEST = "latest"
    """Only the newest waiting message of each topic is delivered."""
    RELIABLE = "reliable"
    """The writer waits, up to `BusOptions.hold_within`; then it evicts the subscriber's process, by name."""


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """Options of one subscription."""

    policy: Policy = Policy.LOSSY
    """Treatment of this subscriber when it is slower than a writer."""
    replay: int = 0
    """Earlier messages of each writer to deliver first, at most; as many as the writer still holds."""
    on_event: Callable[[InBand], None] | None = None
    """Callback for Gap, WriterGone and Evicted, in order with the messages."""
    subscriber: str = ""
    """Name of the subscriber, for people; one agent may hold many subscriptions."""


@dataclass(frozen=True, slots=True)
class Curve:
    """CURVE keys for tcp, in ZeroMQ's Z85 text. The secret key is never shown."""

    public: str
    """Public key of this member."""
    secret: str = field(repr=False)
    """Secret key of this member."""
    server: str
    """Public key of the registry."""
    allowed: frozenset[str] | None = None
    """Public keys that may join, on a member that may host the registry; None: all who know `server`."""


@dataclass(frozen=True, slots=True)
class BusOptions:
    """Options of one member of a bus. Times are in seconds."""

    carrier: Literal["auto", "rings", "zmq"] = "auto"
    """Carrier of the bus; "auto" is rings where they work and no endpoint is given, else ZeroMQ."""
    label: str = ""
    """Name of this member for people, such as "host-1"; "process-PID" if empty. At most 255 characters."""
    create: bool = True
    """Start the bus if it does not run; False: joining a bus that does not run is NoSuchBus."""
    join_within: float = 5.0
    """Longest time to join."""
    endpoint: str = ""
    """Endpoint of the registry, "tcp://HOST:PORT": a bus between machines or network namespaces, over ZeroMQ."""
    bind_host: str = ""
    """Address at which other members reach this one, with `endpoint`; loopback if empty."""
    curve: Curve | None = None
    """Keys for `endpoint`; required beyond loopback."""
    ring_bytes: int = 1 * MIB
    """Bytes of this member's broadcast ring; memory is taken as it is used."""
    pair_bytes: int = 256 * KIB
    """Bytes of a ring to one other member; memory is taken as it is used."""
    inline_bytes: int = 32 * KIB
    """Bytes of the largest payload in a ring; larger ones travel in a segment of shared memory.

    At most an eighth of the smaller ring, so that any record fits; a larger value is reduced to that.
    """
    payload_limit: int = 1024 * MIB
    """Bytes of the largest payload; TooLarge above."""
    pool_bytes: int = 64 * MIB
    """Bytes of the segments for large payloads that are kept for re-use."""
    outbox_bytes: int = 8 * MIB
    """Bytes that may wait for one member or for RELIABLE subscribers; Overloaded above."""
    pending_calls: int = 65536
    """Calls in flight; Overloaded above."""
    hold_within: float = 1.0
    """Longest time that a RELIABLE reader may hold up this writer; then it is evicted."""
    pair_idle: float = 30.0
    """Time without a message after which the ring to one other member is given back."""
    linger: float = 300e-6
    """Longest time to look for the next message before sleeping, while that pays; 0: never look."""
    spin: float = 0.0
    """Time to look for the next message after each one, however long earlier sleeps were; at most 1.0. On rings only.

    For a process that has a core to itself: it keeps that core for so long after each message, and is told of the next
    one without being woken. It gives way to whoever else wants the core, for up to a tenth of a second each time.
    `three-mode doctor` shows who spins.
    """
    recheck: float = 1.0
    """Interval of the search for missed wake-ups: the counter "missed_wakes" must stay 0."""
    drain_records: int = 512
    """Messages that are handled before the event loop gets a turn."""
    on_error: Callable[[str, BaseException], Any] | None = None
    """Callback (where, exception) for what callbacks raise, and for messages that a receiver could not read.

    None: the event loop's exception handler.
    """

    def __post_init__(self) -> None:
        for name in ("join_within", "hold_within", "pair_idle", "linger", "spin", "recheck"):
            if math.isnan(getattr(self, name)):
                raise ValueError(f"BusOptions.{name} is a number of seconds, not nan")
        if not 0 <= self.spin <= LONGEST_SPIN:
            raise ValueError(f"BusOptions.spin is {self.spin:g} seconds; it takes 0 to {LONGEST_SPIN:g}")
        object.__setattr__(self, "inline_bytes", min(self.inline_bytes, self.ring_bytes // 8, self.pair_bytes // 8))
