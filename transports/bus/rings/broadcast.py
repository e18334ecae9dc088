"""Publish on rings: this member's broadcast ring, the members to wake, and the RELIABLE readers to wait for."""

import os
from collections.abc import Callable

from transports.bus.errors import Closed
from transports.bus.options import BusOptions
from transports.bus.pubsub.publications import Holding
from transports.bus.rings.large import Leases, SegmentPool, commit, reclaim, refer
from transports.bus.rings.native import DATA, REFERENCE, RING, SHARD, Segment, Writer
from transports.bus.rings.segments import make

_LARGE_IN_FLIGHT = 8  # large payloads that stay readable; with RELIABLE readers, until all have read them


class RingBroadcast:
    """Publisher of one member.

    `ring_made(uid, fd, ring, writer)` is called when the first message makes the ring, and `evicted(member, seconds)`
    when the writer goes on without a RELIABLE reader.
    """

    def __init__(
        self,
        options: BusOptions,
        pool: SegmentPool,
        ring_made: Callable[[int, int, Segment, Writer], None],
        publishable: Callable[[], None],
        evicted: Callable[[str, float], None],
    ) -> None:
        self._options, self._pool = options, pool
        self._ring_made, self._evicted = ring_made, evicted
        self._inline = options.inline_bytes
        self._slot = -1
        self._writer: Writer | None = None
        self._fd = -1
        self.ring: Segment | None = None
        self.shards: list[tuple[int, int, Segment]] = []  # descriptors of bell and eventfd, the bell
        self._former: list[tuple[int, int, Segment]] = []  # shards in whose place others are: still rung
        self._gates: dict[str, tuple[int, Segment]] = {}  # RELIABLE reader -> its slot and page
        self._gate_since: dict[str, int] = {}  # RELIABLE reader -> large payloads published before it
        self._leases = Leases()
        self._holding = Holding(options.hold_within, publishable, self._evict_slowest)
        self.evictions = 0
        self._closed = False

    def placed(self, slot: int) -> None:
        """Set the slot that the registry gave."""
        self._slot = slot

    def add_shard(self, bell_fd: int, event_fd: int, bell: Segment) -> None:
        """Wake the members of a shard too."""
        self.shards.append((bell_fd, event_fd, bell))
        if self._writer is not None:
            self._wake_shard(self._writer, len(self.shards) - 1)

    def replace_shard(self, number: int, bell_fd: int, event_fd: int, bell: Segment) -> None:
        """Wake the members of a shard by another bell too: some may still sleep at the former one."""
        self._former.append(self.shards[number])
        self.shards[number] = (bell_fd, event_fd, bell)
        if self._writer is not None:
            self._wake_shard(self._writer, number)

    def _wake_shard(self, writer: Writer, number: int) -> None:
        _, event_fd, bell = self.shards[number]
        without = 1 << (self._slot % SHARD) if number == self._slot // SHARD else 0
        writer.shard(number, event_fd, bell, without)

    @property
    def announcement(self) -> tuple[int, int] | None:
        """uid and descriptor of the ring, for a new registry; None without a ring."""
        return (self.ring.uid, self._fd) if self.ring is not None else None

    # --- publishing --------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        """Publish; return the message's number, or 0 if a RELIABLE reader holds it up."""
        writer = self._writer or self._make_ring()
        if len(body) > self._inline:
            seq = self._publish_large(writer, topic, envelope, body, flags)
        else:
            seq = writer.put(topic, envelope, body, flags)
        if seq == 0:
            self._holding.held_up()
        else:
            self._holding.since = 0.0
        return seq

    def _make_ring(self) -> Writer:
        if self._closed:
            raise Closed("this member has left the bus")
        self._fd, self.ring = make(RING, self._options.ring_bytes, self._slot)
        writer = self._writer = Writer(self.ring)
        for number in range(len(self.shards)):
            self._wake_shard(writer, number)
        for slot, page in self._gates.values():
            writer.gate(slot, page, self._slot, False)
        self._ring_made(self.ring.uid, self._fd, self.ring, writer)
        return writer

    def _publish_large(self, writer: Writer, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        reclaim(self._leases, self._released(), self._pool)
        if self._gates and self._leases.full(len(body)):
            return 0
        segment = self._pool.take(len(body), bool(self._leases.out))
        while segment is None and self._leases.out and not self._gates:
            # Without RELIABLE readers the oldest payload makes room; a member that has not read it yet gets a gap.
            reclaim(self._leases, self._leases.out[0].number, self._pool)
            segment = self._pool.take(len(body), bool(self._leases.out))
        if segment is None:
            return 0
        reference = refer(self._leases, segment, body)
        seq = writer.put(topic, envelope, reference, flags & ~DATA | REFERENCE)
        if seq == 0:
            self._pool.give(segment)
        else:
            commit(self._leases, segment)
        return seq

    def _released(self) -> int:
        """Return the last large payload whose segment may be used again."""
        kept = self._leases.count - _LARGE_IN_FLIGHT if not self._gates else self._leases.count
        uid = self.ring.uid if self.ring is not None else 0
        for member, (_, page) in self._gates.items():
            entry = page.entry(self._slot)
            kept = min(kept, max(entry[6] if entry[0] == uid else 0, self._gate_since[member]))
        return kept

    def all_read(self) -> bool:
        """Return whether the RELIABLE readers have released all large payloads."""
        if not self._gates or not self._leases.out:
            return True
        reclaim(self._leases, self._released(), self._pool)
        return not self._leases.out

    # --- RELIABLE readers --------------------------------------------------------------------------------------------
    def gate(self, member: str, slot: int, page: Segment) -> None:
        """Wait for a member from now on, instead of lapping it."""
        if member not in self._gates:
            self._gates[member] = (slot, page)
            self._gate_since[member] = self._leases.count
            if self._writer is not None:
                self._writer.gate(slot, page, self._slot, False)

    def ungate(self, member: str) -> None:
        """No longer wait for a member."""
        gate = self._gates.pop(member, None)
        if gate is not None and self._writer is not None:
            self._writer.ungate(gate[0])

    def _evict_slowest(self, held: float) -> None:
        slowest = self._writer.slowest() if self._writer is not None else None
        for member, (slot, _) in list(self._gates.items()):
            if slowest is not None and slot == slowest[0]:
                self.ungate(member)
                self.evictions += 1
                self._evicted(member, held)

    # --- other -------------------------------------------------------------------------------------------------------
    @property
    def newest(self) -> int:
        """Number of the last message."""
        return self._writer.counters()[0] if self._writer is not None else 0

    def counters(self) -> tuple[int, ...]:
        """Return the writer's counters, in the order of native/writer.c."""
        return self._writer.counters() if self._writer is not None else (0,) * 7

    def close(self) -> None:
        """Publish no more; tell the readers, and close the descriptors."""
        self._closed = True
        self._holding.close()
        self._gates.clear()
        self._writer = None
        if self.ring is not None:
            self.ring.done()
            os.close(self._fd)
        for bell_fd, event_fd, _ in (*self.shards, *self._former):
            os.close(bell_fd)
            os.close(event_fd)
        self.shards.clear()
        self._former.clear()
