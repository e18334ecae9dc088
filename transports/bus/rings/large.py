"""Large payloads: segments of shared memory that are filled, referred to by a record, and used again.

A fresh megabyte of shared memory costs more than the copy into it, so segments are kept. A reference names the segment,
its generation and the length; its number counts references of a ring, and a reader releases them in order.
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
SEGMENTS = 1024  # that one member keeps; with more, a ring waits until its readers have given some back
CACHED = 64  # segments of one writer that a reader keeps mapped
# Bytes that a ring's readers may be behind before its writer waits. With more, both sides copy memory that no cache
# holds.
IN_FLIGHT = 8 << 20


class Reference(msgspec.Struct, array_like=True, frozen=True):
    """Reference to a payload in a segment; it takes the payload's place in a record."""

    uid: int
    generation: int
    length: int
    number: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reference).decode


def read_reference(body: bytes) -> Reference:
    """Decode a reference, or raise BadFrame."""
    try:
        return _decode(body)
    except UNREADABLE as error:
        raise BadFrame(f"no reference to a large payload: {error}") from None


def expect_length(reference: Reference, limit: int) -> None:
    """Raise BadFrame, before anything is fetched or allocated, if the payload is larger than this member accepts."""
    if reference.length > limit:
        raise BadFrame(f"a payload of {reference.length} bytes: the limit is {limit} (BusOptions.payload_limit)")


@dataclass(slots=True)
class SegmentLease:
    """A segment that readers may still read, from reference `number` of its ring on."""

    number: int
    segment: Segment


@dataclass(slots=True)
class Leases:
    """Leases of one ring, oldest first."""

    count: int = 0
    bytes: int = 0
    out: deque[SegmentLease] = field(default_factory=deque)

    def full(self, size: int) -> bool:
        """Return whether the writer should wait for its readers before it sends `size` more bytes."""
        return len(self.out) > 1 and self.bytes + size > IN_FLIGHT


class SegmentPool:
    """Segments of this member. `announce(uid, fd)` makes one known to other members, `withdraw(uid)` takes it back."""

    def __init__(self, limit: int, announce: Callable[[int, int], None], withdraw: Callable[[int], None]) -> None:
        self._limit = limit
        self._announce, self._withdraw = announce, withdraw
        self._free: dict[int, list[Segment]] = {}
        self._fds: dict[int, int] = {}
        self._segments: dict[int, Segment] = {}
        self._bytes = 0

    @property
    def fds(self) -> dict[int, int]:
        """Descriptors of all segments by uid, for a new registry."""
        return self._fds

    @property
    def bytes(self) -> int:
        """Bytes of all segments."""
        return self._bytes

    def take(self, size: int, waits: bool) -> Segment | None:
        """Return a free segment for `size` bytes, or a new one.

        None if a new one would exceed the limit and the ring `waits`, which means that it has leased others, to be
        given back by its own readers. A ring without leases does not wait: only readers of other rings could give it a
        segment.
        """
        capacity = max(_SMALLEST, 1 << (size - 1).bit_length())
        if self._free.get(capacity):
            return self._free[capacity].pop()
        if self._is_full(capacity):
            self._trim(capacity)
            if waits and self._is_full(capacity):
                return None
        fd, segment = make(LARGE, capacity)
        self._fds[segment.uid] = fd
        self._bytes += capacity
        self._segments[segment.uid] = segment
        self._announce(segment.uid, fd)
        return segment

    def give(self, segment: Segment) -> None:
        """Take a segment back."""
        self._free.setdefault(segment.capacity, []).append(segment)
        if self._bytes > self._limit:
            self._trim(0)

    def _is_full(self, wanted: int) -> bool:
        """Return whether one more segment of `wanted` bytes is above a limit; 0: whether those there are."""
        return bool(self._bytes) and (
            self._bytes + wanted > self._limit or len(self._segments) >= SEGMENTS + (not wanted)
        )

    def _trim(self, wanted: int) -> None:
        """Drop free segments until one of `wanted` bytes fits."""
        for capacity in sorted(self._free, reverse=True):
            while self._free[capacity] and self._is_full(wanted):
                segment = self._free[capacity].pop()
                os.close(self._fds.pop(segment.uid))
                del self._segments[segment.uid]
                self._bytes -= capacity
                self._withdraw(segment.uid)

    def close(self) -> None:
        """Close all segments, and tell their readers."""
        for fd in self._fds.values():
            os.close(fd)
        for segment in self._segments.values():
            segment.done()
        self._fds.clear()
        self._segments.clear()
        self._free.clear()


def refer(leases: Leases, segment: Segment, payload: bytes) -> bytes:
    """Fill `segment`, and return the reference to send."""
    generation = segment.fill(payload)
    return _encode((segment.uid, generation, len(payload), leases.count + 1))


def commit(leases: Leases, segment: Segment) -> None:
    """Lease a segment whose reference was sent."""
    leases.count += 1
    leases.bytes += segment.capacity
    leases.out.append(SegmentLease(leases.count, segment))


def reclaim(leases: Leases, released: int, pool: SegmentPool) -> None:
    """Give the segments back to the pool that readers have released."""
    while leases.out and leases.out[0].number <= released:
        segment = leases.out.popleft().segment
        leases.bytes -= segment.capacity
        pool.give(segment)


class SegmentCache:
    """Mapped segments of one other member; the least recently used are unmapped."""

    def __init__(self) -> None:
        self._segments: OrderedDict[int, Segment] = OrderedDict()

    def get(self, uid: int) -> Segment | None:
        """Return a segment, or None if it is not mapped."""
        segment = self._segments.get(uid)
        if segment is not None:
            self._segments.move_to_end(uid)
        return segment

    def add(self, uid: int, fd: int) -> None:
        """Map a segment; BadFrame if it is not the one of that uid."""
        segment = attach(fd, LARGE)
        if segment.uid != uid:
            raise BadFrame("a segment under a false name")
        self._segments[uid] = segment
        while len(self._segments) > CACHED:
            self._segments.popitem(last=False)

    def clear(self) -> None:
        """Unmap all."""
        self._segments.clear()
