"""Large payloads: segments that are filled, referred to by a record, and used again.

A fresh megabyte of shared memory costs more than the copy into it, so segments are kept. A reference says which segment,
which generation and how much; the number counts references per ring, and a reader lets go of them in order.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from transports.bus.errors import BadFrame
from transports.bus.frames import UNREADABLE
from transports.bus.rings.native import LARGE, Segment
from transports.bus.rings.segments import attach, make

_SMALLEST = 64 * 1024
CACHED = 64  # segments of one writer that a reader keeps mapped
# Bytes that a ring's readers may be behind before its writer waits: more, and both sides copy from memory that no cache holds.
IN_FLIGHT = 8 << 20


class Reference(msgspec.Struct, array_like=True, frozen=True):
    uid: int
    generation: int
    length: int
    number: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reference).decode


def read_reference(body: bytes) -> Reference:
    try:
        return _decode(body)
    except UNREADABLE as error:
        raise BadFrame(f"no reference to a large payload: {error}") from None


def expect_length(reference: Reference, limit: int) -> None:
    """BadFrame, before anything is fetched and memory asked for, if the payload is more than this member accepts."""
    if reference.length > limit:
        raise BadFrame(f"a payload of {reference.length} bytes: the limit is {limit} (BusOptions.payload_limit)")


@dataclass(slots=True)
class Lease:
    """A segment that readers may still read: since reference `number` of its ring."""

    number: int
    segment: Segment


@dataclass(slots=True)
class Leases:
    """References of one ring, oldest first."""

    count: int = 0
    bytes: int = 0
    out: deque[Lease] = field(default_factory=deque)

    def full(self, size: int) -> bool:
        """Whether the writer should wait for its readers before it sends so much more."""
        return len(self.out) > 1 and self.bytes + size > IN_FLIGHT


class SegmentPool:
    """Segments of this member. `announce(uid, fd)` makes one known to others, `withdraw(uid)` takes it back."""

    def __init__(self, limit: int, announce: Callable[[int, int], None], withdraw: Callable[[int], None]) -> None:
        self._limit = limit
        self._announce, self._withdraw = announce, withdraw
        self._free: dict[int, list[Segment]] = {}
        self._fds: dict[int, int] = {}
        self._segments: dict[int, Segment] = {}
        self._bytes = 0

    @property
    def fds(self) -> dict[int, int]:
        """uid -> descriptor of every segment, for a new registry."""
        return self._fds

    @property
    def bytes(self) -> int:
        return self._bytes

    def take(self, size: int, waits: bool) -> Segment | None:
        """A free segment that holds `size` bytes, or a new one; None if that would exceed the limit, for a ring that `waits`: one
        that has others out, which its own readers will give back. One that has none would wait for readers of other rings."""
        capacity = max(_SMALLEST, 1 << (size - 1).bit_length())
        if self._free.get(capacity):
            return self._free[capacity].pop()
        if self._bytes and self._bytes + capacity > self._limit:
            self._trim(capacity)
            if waits and self._bytes + capacity > self._limit:
                return None
        fd, segment = make(LARGE, capacity)
        self._fds[segment.uid] = fd
        self._bytes += capacity
        self._segments[segment.uid] = segment
        self._announce(segment.uid, fd)
        return segment

    def give(self, segment: Segment) -> None:
        self._free.setdefault(segment.capacity, []).append(segment)
        if self._bytes > self._limit:
            self._trim(0)

    def _trim(self, wanted: int) -> None:
        """Drop free segments until `wanted` bytes fit."""
        for capacity in sorted(self._free, reverse=True):
            while self._free[capacity] and self._bytes + wanted > self._limit:
                segment = self._free[capacity].pop()
                os.close(self._fds.pop(segment.uid))
                del self._segments[segment.uid]
                self._bytes -= capacity
                self._withdraw(segment.uid)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        for segment in self._segments.values():
            segment.done()
        self._fds.clear()
        self._segments.clear()
        self._free.clear()


def refer(leases: Leases, segment: Segment, payload: bytes) -> bytes:
    """Fill `segment` and note the lease; the reference to send."""
    generation = segment.fill(payload)
    return _encode((segment.uid, generation, len(payload), leases.count + 1))


def commit(leases: Leases, segment: Segment) -> None:
    leases.count += 1
    leases.bytes += segment.capacity
    leases.out.append(Lease(leases.count, segment))


def reclaim(leases: Leases, released: int, pool: SegmentPool) -> None:
    """Give back what readers have let go of."""
    while leases.out and leases.out[0].number <= released:
        segment = leases.out.popleft().segment
        leases.bytes -= segment.capacity
        pool.give(segment)


class SegmentCache:
    """Segments of one other member, mapped as they are met; the least recently used are let go."""

    def __init__(self) -> None:
        self._segments: OrderedDict[int, Segment] = OrderedDict()

    def get(self, uid: int) -> Segment | None:
        segment = self._segments.get(uid)
        if segment is not None:
            self._segments.move_to_end(uid)
        return segment

    def add(self, uid: int, fd: int) -> None:
        segment = attach(fd, LARGE)
        if segment.uid != uid:
            raise BadFrame("a segment under a false name")
        self._segments[uid] = segment
        while len(self._segments) > CACHED:
            self._segments.popitem(last=False)

    def clear(self) -> None:
        self._segments.clear()
