"""Another member, as the rings carrier sees it, and the ring of ours that leads to it."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

from transports.bus.carrier import Peer
from transports.bus.events import MemberInfo
from transports.bus.rings.large import Leases, SegmentCache
from transports.bus.rings.native import Segment, Writer


@dataclass(slots=True, eq=False)
class OutLink:
    """Our ring to one member. Made when first needed; `writer` is there once the member's page is known."""

    uid: int
    fd: int
    segment: Segment
    writer: Writer | None = None
    page: Segment | None = None
    wake: int = -1
    pidfd: int = -1
    leases: Leases = field(default_factory=Leases)
    waiting: bool = False  # for room
    sent: int = 0  # records at the last look, to see whether it is idle
    idle_since: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        self.writer = None
        self.segment.done()
        os.close(self.fd)
        if self.wake >= 0:
            os.close(self.wake)


class RingPeer(Peer):
    """What is known of another member. A ring of it that waits for a large payload is in `stalled`."""

    __slots__ = ("cache", "link", "pair_pidfd", "pair_uid", "pair_wake", "ring_uid", "stalled")

    def __init__(self, info: MemberInfo) -> None:
        super().__init__(info)
        self.ring_uid = 0  # broadcast ring that we read
        self.pair_uid = 0  # pair ring that we read
        self.pair_wake = -1
        self.pair_pidfd = -1
        self.link: OutLink | None = None
        self.cache = SegmentCache()
        self.stalled: dict[bool, list[Any]] = {}  # pair? -> records behind the payload that is being fetched


@dataclass(frozen=True, slots=True)
class DepartedPage:
    """A member that is gone, for receipts of what was published before."""

    info: MemberInfo
    patterns: dict[str, int]
    at: float
    page: Segment | None
