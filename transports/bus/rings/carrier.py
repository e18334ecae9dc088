"""Rings carrier: connects reader, broadcast, pairs, doorbell and registry, and implements `Carrier` with them."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from transports.bus.carrier import ReaderStatus, Sink
from transports.bus.directory import Directory
from transports.bus.errors import BusError, Closed, DeadlineExceeded, Overloaded, PeerLost
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.publications import fail
from transports.bus.receipt import Settled
from transports.bus.registry import wire
from transports.bus.registry.connector import UnixConnector
from transports.bus.registry.membership import Membership
from transports.bus.registry.seats import Shards
from transports.bus.rings.broadcast import RingBroadcast
from transports.bus.rings.doorbell import Doorbell, expect_doorbell
from transports.bus.rings.large import SegmentPool
from transports.bus.rings.native import (
    BELL,
    LAYOUT_VERSION,
    PAGE,
    PAGE_BYTES,
    RING,
    SHARD,
    Pump,
    Segment,
    Writer,
)
from transports.bus.rings.pairs import Pairs
from transports.bus.rings.peer import DepartedPage, RingPeer
from transports.bus.rings.reader import RingReader
from transports.bus.rings.receipts import RingReceipts
from transports.bus.rings.segments import RingShards, attach, make
from transports.bus.waiting import until


class RingsCarrier:
    """Carrier over shared memory, and `Member` of the registry; these two say what each method does."""

    name = "rings"
    layout = LAYOUT_VERSION
    shares_clock = True

    def __init__(self, bus: str, options: BusOptions, sink: Sink) -> None:
        self._options, self._sink = options, sink
        connector = UnixConnector(bus)  # first: it refuses names, and no descriptor is open yet
        self.directory = Directory()
        self.id = ""
        self._slot = -1
        self.endpoints: dict[str, str] = {}
        self._page_fd, self._page = make(PAGE, PAGE_BYTES)
        self._pidfd = os.pidfd_open(os.getpid())
        self._bell = Doorbell()
        self._pump: Pump | None = None
        self._peers: dict[str, RingPeer] = {}
        self._closed = False
        self.handing_over: asyncio.Future[int] | None = None
        self._departed: deque[DepartedPage] = deque(maxlen=256)
        self._pool = SegmentPool(
            options.pool_bytes,
            lambda uid, fd: self._membership.send(wire.SegmentMade(uid), [fd]),
            lambda uid: self._membership.send(wire.SegmentGone(uid)),
        )
        self._membership = Membership(bus, options, self, connector)
        self._broadcast = RingBroadcast(options, self._pool, self._ring_made, sink.publishable, self._evicted)
        self._pairs = Pairs(options, sink, self._pool, self._bell, self._membership.link)
        self._reader = RingReader(
            options, sink, self._pairs, self._peers, self._fetch_segment, self._tidy, self._processes_ended
        )
        self._receipts = RingReceipts(self)

    # --- life ------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        try:
            await self._membership.join()
        except BaseException:
            await self.close(0.0)
            raise
        self._reader.recheck()
        self._reader.park()

    async def close(self, within: float) -> None:
        if self._closed:
            return
        self._closed = True
        self._pairs.closed = True
        self._reader.close()
        deadline = time.monotonic() + within
        try:
            await until(self._large_payloads_are_read, within)
        finally:  # also if the loop ends meanwhile and cancels this task
            try:
                await self._membership.leave(max(0.0, deadline - time.monotonic()))
            finally:
                self._close_all()

    def _large_payloads_are_read(self) -> bool:
        """Return whether no reader needs a segment of this member any more: segments are gone once it has left."""
        return self._pairs.all_read(self._peers.values()) and self._broadcast.all_read()

    def _close_all(self) -> None:
        self._bell.stop()
        for peer in self._peers.values():
            self._drop_pair(peer)
            self._pairs.drop(peer)
        self._peers.clear()
        self._reader.close_pump()
        self._pump = None
        self._pool.close()
        self._broadcast.close()
        self._pairs.close()
        self._bell.close()
        self._page.done()
        os.close(self._page_fd)
        os.close(self._pidfd)

    def forked(self) -> None:
        """Close, in the child of a fork, what would keep the parent's connections open."""
        self._closed = True
        self._membership.forked()

    # --- called by Membership --------------------------------------------------------------------------------------
    def hello_fds(self) -> list[int]:
        return [self._page_fd, self._bell.own, self._pidfd]

    def make_shards(self) -> Shards:
        """Make the bells for the registry that this process is about to host; after one died, keep those in use."""
        shards = RingShards()
        shards.adopt(self.shard_fds())
        return shards

    def connect(self, member: str, endpoints: dict[str, str]) -> None:
        """Do nothing: rings need no endpoints."""

    def shard_fds(self) -> list[int]:
        return [fd for bell, event, _ in self._broadcast.shards for fd in (bell, event)]

    def welcomed(self, member: str, slot: int, shards: list[int]) -> None:
        """Take the place that the registry gave; after the registry moved, the place is taken already."""
        if self._pump is not None:
            self._compare_shards(self._pump, list(zip(shards[::2], shards[1::2], strict=True)))
            return
        self.id, self._slot = member, slot
        for number in range(len(shards) // 2):
            self.add_shard(shards[2 * number], shards[2 * number + 1])
        own_bell = self._broadcast.shards[slot // SHARD][2]
        limit = self._options.payload_limit
        self._pump = Pump(self._page, own_bell, slot, self._sink.delivery.routes, Message, limit)
        self._broadcast.placed(slot)
        self._pairs.placed(slot, self._pump)
        self._reader.placed(self._pump)
        self._set_bell(self._pump)
        self._bell.wakes(self._pump)

    def add_shard(self, bell_fd: int, event_fd: int) -> None:
        bell = self._attach_shard(len(self._broadcast.shards), bell_fd, event_fd)
        self._broadcast.add_shard(bell_fd, event_fd, bell)

    def _attach_shard(self, number: int, bell_fd: int, event_fd: int) -> Segment:
        bell = attach(bell_fd, BELL, writable=number == self._slot // SHARD)
        expect_doorbell(event_fd)
        return bell

    def _compare_shards(self, pump: Pump, shards: Sequence[tuple[int, int]]) -> None:
        """Keep the bells of all shards, or move to those of a registry whose members never saw them."""
        others = {
            number: self._attach_shard(number, *fds)
            for number, fds in enumerate(shards)
            if not os.path.sameopenfile(self._broadcast.shards[number][0], fds[0])
        }
        for number, (bell_fd, event_fd) in enumerate(shards):  # nothing fails from here on: they are owned
            bell = others.get(number)
            if bell is None:
                os.close(bell_fd)
                os.close(event_fd)
                continue
            self._broadcast.replace_shard(number, bell_fd, event_fd, bell)
            if number == self._slot // SHARD:
                pump.move(bell)
                if self._reader.listening:
                    self._bell.watch_shard(event_fd)
                    self._set_bell(pump)
                self._reader.soon()

    def announce_again(self) -> None:
        """Announce the ring and all segments to a new registry."""
        if self._broadcast.announcement is not None:
            uid, fd = self._broadcast.announcement
            self._membership.send(wire.RingMade(uid), [fd])
        for uid, fd in self._pool.fds.items():
            self._membership.send(wire.SegmentMade(uid), [fd])

    def peer(self, member: str) -> RingPeer | None:
        peer = self._peers.get(member)
        if peer is None:
            info = self.directory.members.get(member)
            if info is None:
                return None
            peer = self._peers[member] = RingPeer(info)
        return peer

    def member_lost(self, member: str, reason: str) -> None:
        """Deliver the last messages of a member, then report that it has gone."""
        info = self.directory.members.get(member)
        if info is None or member == self.id:
            return
        peer = self._peers.get(member)
        self._broadcast.ungate(member)
        page = peer.link.page if peer is not None and peer.link is not None else None
        page = self._receipts.page_of(member) or page
        self._departed.append(DepartedPage(info, dict(self.directory.patterns(member)), time.monotonic(), page))
        if peer is not None:
            self._reader.drain_last_of(peer, gone=True)
            del self._peers[member]
            had_ring = peer.ring_uid
            if self._pump is not None:
                self._pump.detach(info.slot, False)
            self._drop_pair(peer)
            self._pairs.drop(peer)
            if had_ring:
                self._sink.writer_gone(peer)
        self._receipts.forget(member)
        self._sink.directory_changed(self.directory.leave(member, reason))

    def departed(self) -> Sequence[DepartedPage]:
        """Return the members that have gone lately."""
        return self._departed

    def read_ring(self, member: str, uid: int, fresh: bool, fd: int) -> None:
        peer = self.peer(member)
        if peer is None or self._pump is None or peer.ring_uid == uid:
            return
        segment = attach(fd, RING)
        if peer.ring_uid:
            self._pump.detach(peer.info.slot, False)
        self._pump.writer(peer, segment, peer.info.slot, fresh)
        peer.ring_uid = uid
        self._reader.pause_if_held(peer)
        self._reader.soon()

    def read_pair(self, member: str, uid: int, fds: list[int]) -> None:
        """Read the ring from a member; fds: ring, page, doorbell, pidfd.

        The caller closes the first two, and all of them if this raises.
        """
        ring_fd, page_fd, wake, pidfd = fds
        peer = self.peer(member)
        # A ring that is read already comes again where the registry died between its hand-over and its answer.
        if peer is None or self._pump is None or peer.pair_uid == uid:
            os.close(wake)
            os.close(pidfd)
            return
        ring, page = attach(ring_fd, RING), attach(page_fd, PAGE)
        expect_doorbell(wake)
        self._drop_pair(peer)
        self._bell.watch_death(pidfd, member)
        # From here on the peer owns them: nothing was wrong with them.
        peer.pair_wake, peer.pair_pidfd, peer.pair_uid = wake, pidfd, uid
        self._pump.pair(peer, ring, peer.info.slot, page, wake)
        self._reader.soon()

    def pair_given_back(self, member: str, uid: int) -> None:
        peer = self._peers.get(member)
        if peer is not None and peer.pair_uid == uid:
            self._reader.drain_last_of(peer)
            self._drop_pair(peer)

    def gate(self, member: str, page_fd: int) -> None:
        info = self.directory.members.get(member)
        if info is not None:
            self._broadcast.gate(member, info.slot, attach(page_fd, PAGE))

    def ungate(self, member: str) -> None:
        self._broadcast.ungate(member)

    def evicted_by(self, writer: str, held: float) -> None:
        self._sink.evicted(writer, held)

    def failed(self, where: str, error: BaseException) -> None:
        self._sink.failed(where, error)

    def changed(self, changes: Sequence[Any]) -> None:
        if changes:
            self._sink.directory_changed(changes)

    # --- reading ---------------------------------------------------------------------------------------------------
    def _set_bell(self, pump: Pump) -> None:
        pump.bell(self._bell.fileno(), self._bell.own, self._bell.shard)

    def _processes_ended(self, fds: list[int]) -> None:
        for member in self._bell.died(fds):
            self.member_lost(member, "its process ended")

    def hold(self, on: bool) -> None:
        self._reader.hold(on)

    async def catch_up(self) -> None:
        await self._membership.sync()
        self._reader.drain_all()

    async def replay(self) -> list[Message]:
        return await self._reader.replay()

    def _tidy(self) -> None:
        self._pairs.give_back_idle(
            list(self._peers.values()), lambda to, uid: self._membership.send(wire.Unlink(to, uid))
        )

    # --- publishing ------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        return self._broadcast.publish(topic, envelope, body, flags)

    def _ring_made(self, uid: int, fd: int, ring: Segment, writer: Writer) -> None:
        """Announce the ring that the first message made, and read it like any other."""
        own = self.peer(self.id)
        assert own is not None
        assert self._pump is not None
        self._pump.writer(own, ring, self._slot, True)
        writer.reader(self._pump)
        own.ring_uid = uid
        self._reader.pause_if_held(own)
        self._membership.send(wire.RingMade(uid), [fd])
        self.handing_over = asyncio.get_running_loop().create_future()
        self._reader.spawn(self._hand_over(writer, self.handing_over))

    async def _hand_over(self, writer: Writer, handing_over: "asyncio.Future[int]") -> None:
        """Wait until all members have been sent the ring; from then on small messages go the short way."""
        try:
            while True:
                try:
                    await self._membership.handed_over()
                    break
                except (DeadlineExceeded, Overloaded) as error:
                    text = f"the message is in the ring, but not all members have been given the ring: {error}"
                    failed, handing_over = handing_over, asyncio.get_running_loop().create_future()
                    self.handing_over = handing_over
                    fail(failed, type(error)(text))
            self.handing_over = None
            self._sink.publish_by(writer)
            handing_over.set_result(0)
        except Closed:
            pass
        finally:
            self.handing_over = None
            if not handing_over.done():
                fail(handing_over, Closed("this member has left the bus, and not all members had been given its ring"))

    def _evicted(self, member: str, held: float) -> None:
        if member == self.id:
            self._sink.evicted(member, held)
        else:
            self._membership.evict(member, held)

    # --- pairs -----------------------------------------------------------------------------------------------------
    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        peer = self._peers.get(member)
        link = peer.link if peer is not None else None
        if peer is None or link is None or link.writer is None:
            self._make_link(member)
            return False
        sent = self._pairs.put(peer, link, envelope, body, flags)
        if not sent:
            self._reader.soon()  # the reader may have made room before it saw that this member waits
        return sent

    def _make_link(self, member: str) -> None:
        peer = self.peer(member)
        if peer is None or self._closed:
            raise PeerLost(f"member {member} is not on the bus", member)
        connecting = self._pairs.begin(peer)
        if connecting is not None:
            self._reader.spawn(connecting)

    def _drop_pair(self, peer: RingPeer) -> None:
        if peer.pair_uid and self._pump is not None:
            self._pump.detach(peer.info.slot, True)
            self._bell.forget_death(peer.pair_pidfd)
            os.close(peer.pair_wake)
            peer.pair_uid, peer.pair_pidfd, peer.pair_wake = 0, -1, -1

    # --- other -----------------------------------------------------------------------------------------------------
    async def register(self, names: Sequence[str]) -> None:
        await self._membership.register(names)

    async def unregister(self, names: Sequence[str]) -> None:
        await self._membership.unregister(names)

    def withdraw(self, names: Sequence[str]) -> None:
        self._membership.withdraw(names)

    def listen(self, on: bool) -> None:
        if on != self._reader.listening:
            self._bell.watch_shard(self._broadcast.shards[self._slot // SHARD][1] if on else -1)
            if self._pump is not None:
                self._set_bell(self._pump)
            self._reader.listen(on)

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._gate_own(reliable)
        await self._membership.subscribed(patterns, reliable)

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._gate_own(reliable)
        self._membership.unsubscribed(patterns, reliable)

    def _gate_own(self, reliable: bool) -> None:
        if reliable:
            self._broadcast.gate(self.id, self._slot, self._page)
        else:
            self._broadcast.ungate(self.id)

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        return await self._receipts.settled(seq, topic, published, within)

    def page_for_receipts(self) -> tuple[int, Segment, int]:
        """Return this member's slot, its page, and the uid of its ring."""
        return self._slot, self._page, self._broadcast.ring.uid if self._broadcast.ring is not None else 0

    async def fetch_page(self, member: str) -> Segment:
        """Map the page of a member."""
        fd = await self._membership.fetch(member, 0)
        try:
            return attach(fd, PAGE)
        finally:
            os.close(fd)

    async def _fetch_segment(self, peer: RingPeer, uid: int) -> None:
        fd = await self._membership.fetch(peer.id, uid)
        try:
            peer.cache.add(uid, fd)
        finally:
            os.close(fd)

    async def sync(self) -> None:
        await self._membership.sync()

    def counters(self) -> dict[str, int]:
        records, skipped, lost, gaps, read, broken = self._pump.counters() if self._pump else (0,) * 6
        seq, _, _, rung, written, held, allocated = self._broadcast.counters()
        links = [peer.link.writer.counters() for peer in self._peers.values() if peer.link and peer.link.writer]
        return {
            "published": seq,
            "published_bytes": written,
            "ring_memory": allocated,
            "doorbells": rung + sum(link[3] for link in links),
            "held_up": held,
            "sent": sum(link[0] for link in links),
            "sent_bytes": sum(link[4] for link in links),
            "pairs": len(links),
            "received": records,
            "received_bytes": read,
            "skipped": skipped,
            "lost": lost,
            "gaps": gaps,
            "broken_rings": broken,
            "wakes": self._reader.wakes,
            "missed_wakes": self._reader.missed,
            "evictions": self._broadcast.evictions,
            "large_memory": self._pool.bytes,
            "registry_dropped": self._membership.dropped,
        }

    async def readers(self) -> list[ReaderStatus]:
        return await self._receipts.readers(self._broadcast.newest)

    async def spins(self) -> dict[str, float]:
        spins = {}
        for member in list(self.directory.members):
            try:
                page = self._page if member == self.id else await self.fetch_page(member)
            except BusError:
                continue  # the member has just gone
            spins[member] = page.spin / 1e9
        return {member: seconds for member, seconds in spins.items() if seconds}
