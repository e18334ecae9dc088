"""Peers of the rings carrier: what it knows of another member, and the ring to that member."""

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
    """Ring to one member. `writer` is None until the member's page is known."""

    uid: int
    fd: int
    segment: Segment
    writer: Writer | None = None
    page: Segment | None = None
    wake: int = -1
    pidfd: int = -1
    leases: Leases = field(default_factory=Leases)
    waiting: bool = False  # for room
    sent: int = 0  # records at the last check, which tells whether it is idle
    idle_since: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Tell the reader that the ring has ended, and close the descriptors."""
        self.writer = None
        self.segment.done()
        os.close(self.fd)
        if self.wake >= 0:
            os.close(self.wake)


class RingPeer(Peer):
    """A member, with the rings that this member reads from it and the ring to it."""

    __slots__ = ("cache", "gone", "link", "pair_pidfd", "pair_uid", "pair_wake", "ring_uid", "stalled")

    def __init__(self, info: MemberInfo) -> None:
        super().__init__(info)
        self.ring_uid = 0  # its broadcast ring, if it is read here
        self.pair_uid = 0  # its ring to this member
        self.pair_wake = -1
        self.pair_pidfd = -1
        self.link: OutLink | None = None
        self.cache = SegmentCache()
        self.gone = False  # its segments went with it
        # Whether it is the pair ring -> the record whose large payload is being fetched, and those behind it.
        self.stalled: dict[bool, list[Any]] = {}


@dataclass(frozen=True, slots=True)
class DepartedPage:
    """A member that has gone, for receipts of earlier messages."""

    info: MemberInfo
    patterns: dict[str, int]  # that it subscribed to, and how many times each
    at: float  # time of its end, on time.monotonic()
    page: Segment | None
