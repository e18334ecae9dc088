"""The rings carrier: joins segments, doorbell, pairs and registry, and hands what it drains to the bus.

One pump per process: woken by the doorbell it stands up, drains, delivers, says how far it got, and lies down again, in
that order; the native part checks once more after lying down, so no wake-up is missed. `recheck` is a backstop that
counts when it finds something; the counter must read 0.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from transports.bus.carrier import ReaderStatus, Record, Sink
from transports.bus.directory import Directory
from transports.bus.errors import BadFrame, BusError, Closed, PeerLost
from transports.bus.holding import Holding
from transports.bus.options import BusOptions
from transports.bus.receipt import Settled
from transports.bus.registry import wire
from transports.bus.registry.door import UnixDoor
from transports.bus.registry.membership import Membership
from transports.bus.registry.state import Shards
from transports.bus.rings.doorbell import Doorbell
from transports.bus.rings.large import Leases, SegmentPool, commit, read_reference, reclaim, refer
from transports.bus.rings.native import (
    BELL,
    BINARY,
    DATA,
    LAYOUT_VERSION,
    PAGE,
    PAGE_BYTES,
    REFERENCE,
    RING,
    SHARD,
    Pump,
    Segment,
    Writer,
)
from transports.bus.rings.peer import DepartedPage, OutLink, RingPeer
from transports.bus.rings.segments import RingShards, attach, make
from transports.bus.rings.settling import Settling

_GAP, _BROKEN = 0, -1
_THICK, _LINGER = 100e-6, 30e-6  # drains closer than the first: stay up for the second
_LARGE_IN_FLIGHT = 16  # large broadcast payloads that stay readable; with RELIABLE readers: until they let go


class RingsCarrier:
    name = "rings"
    layout = LAYOUT_VERSION
    shares_clock = True

    def __init__(self, bus: str, options: BusOptions, sink: Sink) -> None:
        self._options, self._sink = options, sink
        self._loop = asyncio.get_running_loop()
        self.directory = Directory()
        self.id = ""
        self._slot = -1
        self.endpoints: dict[str, str] = {}
        self._page_fd, self._page = make(PAGE, PAGE_BYTES)
        self._pidfd = os.pidfd_open(os.getpid())
        self._bell = Doorbell()
        self._pump: Pump | None = None
        self._writer: Writer | None = None
        self._ring: tuple[int, Segment] | None = None
        self._shards: list[tuple[int, int, Segment]] = []
        self._peers: dict[str, RingPeer] = {}
        self._gates: dict[str, tuple[int, Segment]] = {}  # RELIABLE readers: slot and page
        self._leases = Leases()  # large payloads of the broadcast ring
        self._gate_since: dict[str, int] = {}
        self._holding = Holding(options.hold_within, sink.publishable, self._evict_slowest)
        self._waiting: dict[str, OutLink] = {}  # links that wait for room
        self._listening = self._soon = self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._departed: deque[DepartedPage] = deque(maxlen=256)
        self._pool = SegmentPool(
            options.pool_bytes,
            lambda uid, fd: self._membership.send(wire.SegmentMade(uid), [fd]),
            lambda uid: self._membership.send(wire.SegmentGone(uid)),
        )
        self._membership = Membership(bus, options, self, UnixDoor(bus))
        self._settling = Settling(self)
        self._recheck_timer: asyncio.TimerHandle | None = None
        self.wakes = self.missed = self.evictions = 0
        self._drained_at = self._linger_until = 0.0

    # --- life ------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        self._loop.add_reader(self._bell.fileno(), self._woken)
        try:
            await self._membership.join()
        except BaseException:
            await self.close(0.0)
            raise
        self._recheck_timer = self._loop.call_later(self._options.recheck, self._recheck)
        self._lie_down()

    async def close(self, within: float) -> None:
        if self._closed:
            return
        self._closed = True
        self._holding.close()
        for task in self._tasks:
            task.cancel()
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()
        await self._membership.leave(within)
        self._loop.remove_reader(self._bell.fileno())
        pump = self._pump
        for peer in self._peers.values():
            self._drop_pair(peer)
            self._drop_link(peer)
        self._peers.clear()
        self._gates.clear()
        if pump is not None:
            pump.close()
        self._pump = None  # what it refers to refers to it, out of sight of the garbage collector
        self._pool.close()
        self._writer = None
        if self._ring is not None:
            os.close(self._ring[0])
        for bell, event, _ in self._shards:
            os.close(bell)
            os.close(event)
        self._bell.close()
        os.close(self._page_fd)
        os.close(self._pidfd)

    def forked(self) -> None:
        """In the child of a fork: let go of what would keep the parent's end open."""
        self._closed = True
        self._membership.forked()

    # --- membership calls these ------------------------------------------------------------------------------------
    def hello_fds(self) -> list[int]:
        return [self._page_fd, self._bell.own, self._pidfd]

    def make_shards(self) -> Shards:
        """Bells for the registry that this process is about to host; those that are in use, after one died."""
        shards = RingShards()
        shards.adopt(self.shard_fds())
        return shards

    def connect(self, member: str, endpoints: dict[str, str]) -> None:
        """Rings need no endpoints."""

    def shard_fds(self) -> list[int]:
        return [fd for bell, event, _ in self._shards for fd in (bell, event)]

    def welcomed(self, member: str, slot: int, shards: list[int]) -> None:
        """We have a place. After the registry moved it is the one that we had, or we are somebody new."""
        if self._pump is not None:
            for fd in shards:
                os.close(fd)
            return
        self.id, self._slot = member, slot
        for number in range(len(shards) // 2):
            self.add_shard(shards[2 * number], shards[2 * number + 1])
        own_bell = self._shards[slot // SHARD][2]
        self._pump = Pump(self._page, own_bell, slot, self._sink.routes)

    def add_shard(self, bell_fd: int, event_fd: int) -> None:
        number = len(self._shards)
        bell = attach(bell_fd, BELL, writable=number == self._slot // SHARD)
        self._shards.append((bell_fd, event_fd, bell))
        if self._writer is not None:
            self._add_bell(self._writer, number)

    def _add_bell(self, writer: Writer, number: int) -> None:
        _, event_fd, bell = self._shards[number]
        without = 1 << (self._slot % SHARD) if number == self._slot // SHARD else 0
        writer.shard(number, event_fd, bell, without)

    def announce_again(self) -> None:
        """A new registry knows nothing of our segments."""
        if self._ring is not None:
            self._membership.send(wire.RingMade(self._ring[1].uid), [self._ring[0]])
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
        """Deliver what it still said, then say that it is gone."""
        info = self.directory.members.get(member)
        if info is None or member == self.id:
            return
        peer = self._peers.get(member)
        gate = self._gates.pop(member, None)
        page = peer.link.page if peer is not None and peer.link is not None else None
        page = self._settling.page_of(member) or page
        self._departed.append(
            DepartedPage(info, dict(self.directory.patterns(member)), time.monotonic(), page)
        )
        if gate is not None and self._writer is not None:
            self._writer.ungate(gate[0])
        if peer is not None:
            self._drain_rest_of(peer)
            del self._peers[member]
            had_ring = peer.ring_uid
            if self._pump is not None:
                self._pump.detach(info.slot, False)
            self._drop_pair(peer)
            self._drop_link(peer)
            if had_ring:
                self._sink.writer_gone(peer)
        self._settling.forget(member)
        self._sink.directory_changed(self.directory.leave(member, reason))

    def departed(self) -> Sequence[DepartedPage]:
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
        self.pump_soon()

    def read_pair(self, member: str, uid: int, fds: list[int]) -> None:
        """fds: ring, page, doorbell, pidfd. We own all but the first two, which the caller closes."""
        ring_fd, page_fd, wake, pidfd = fds
        peer = self.peer(member)
        if peer is None or self._pump is None:
            os.close(wake)
            os.close(pidfd)
            return
        self._drop_pair(peer)
        peer.pair_wake, peer.pair_pidfd, peer.pair_uid = wake, pidfd, uid
        self._pump.pair(peer, attach(ring_fd, RING), peer.info.slot, attach(page_fd, PAGE), wake)
        self._bell.watch_death(pidfd, member)
        self.pump_soon()

    def pair_given_back(self, member: str, uid: int) -> None:
        peer = self._peers.get(member)
        if peer is not None and peer.pair_uid == uid:
            self._drain_rest_of(peer)
            self._drop_pair(peer)

    def gate(self, member: str, page_fd: int) -> None:
        info = self.directory.members.get(member)
        if info is None or member in self._gates:
            return
        self._add_gate(member, info.slot, attach(page_fd, PAGE))

    def _add_gate(self, member: str, slot: int, page: Segment) -> None:
        self._gates[member] = (slot, page)
        self._gate_since[member] = self._leases.count
        if self._writer is not None:
            self._writer.gate(slot, page, self._slot, False)

    def ungate(self, member: str) -> None:
        gate = self._gates.pop(member, None)
        if gate is not None and self._writer is not None:
            self._writer.ungate(gate[0])

    def evicted_by(self, writer: str, held: float) -> None:
        self._sink.evicted(writer, held)

    def failed(self, where: str, error: BaseException) -> None:
        self._sink.failed(where, error)

    def changed(self, changes: Sequence[Any]) -> None:
        if changes:
            self._sink.directory_changed(changes)

    # --- the pump --------------------------------------------------------------------------------------------------
    def _woken(self) -> None:
        self.wakes += 1
        for member in self._bell.answer():
            self.member_lost(member, "its process ended")
        self._run_pump()

    def pump_soon(self) -> None:
        if not self._soon and not self._closed:
            self._soon = True
            self._loop.call_soon(self._run_pump)

    def _run_pump(self) -> None:
        self._soon = False
        pump = self._pump
        if pump is None or self._closed:
            return
        pump.unpark()
        drained = self._drain(pump)
        if self._waiting:
            self._offer_room()
        if self._lingers(drained):
            self.pump_soon()
        else:
            self._lie_down()

    def _lingers(self, drained: bool) -> bool:
        """While messages come thick and fast, look again before lying down: being woken for each costs both sides more."""
        now = time.monotonic()
        if drained:
            self._linger_until = now + _LINGER if now - self._drained_at < _THICK else 0.0
            self._drained_at = now
        return now < self._linger_until

    def _drain(self, pump: Pump) -> bool:
        records = pump.drain(self._options.drain_records)
        if not records:
            return False
        if pump.special:
            self._deliver_special(pump, records)
        else:
            self._sink.deliver(records)
        pump.handled()
        return True

    def _lie_down(self) -> None:
        if self._pump is not None and not self._closed and not self._pump.park():
            self.pump_soon()

    def _drain_rest_of(self, peer: RingPeer) -> None:
        """Everything that a member's rings still hold, before they are let go."""
        pump = self._pump
        if pump is None:
            return
        for pair in (False, True):
            while True:
                state = pump.state(peer.info.slot, pair)
                if state is None or state[0] == state[1] or state[3] or pair in peer.stalled:
                    break
                if not self._drain(pump):
                    break

    def hold(self, on: bool) -> None:
        """Leave broadcasts in their rings for now: a RELIABLE listener is full."""
        if self._pump is not None and self._listening:
            for peer in self._peers.values():
                if peer.ring_uid and False not in peer.stalled:
                    self._pump.pause(peer.info.slot, False, on)
            self.pump_soon()

    async def catch_up(self) -> None:
        await self._membership.sync()
        pump = self._pump
        while pump is not None and self._drain(pump):
            pass

    def _deliver_special(self, pump: Pump, records: Sequence[Any]) -> None:
        """A batch with gaps, references or a broken ring in it."""
        plain: list[Any] = []
        for record in records:
            flags, peer, seq, _route, topic, envelope, _body = record
            behind = peer.stalled.get(topic is None) if peer.stalled else None
            if behind is not None:
                behind.append(record)
            elif flags == DATA or flags == DATA | BINARY:
                plain.append(record)
            else:
                if plain:
                    self._sink.deliver(plain)
                    plain = []
                if flags == _GAP:
                    self._sink.gap(peer, seq, envelope)
                elif flags == _BROKEN:
                    self._broken(peer)
                elif flags & REFERENCE:
                    self._resolve(pump, record)
        if plain:
            self._sink.deliver(plain)

    def _broken(self, peer: RingPeer) -> None:
        """Its ring holds what no writer of ours writes: it is read no further."""
        self._sink.failed(
            f"ring of member {peer.id} ({peer.info.label})",
            BadFrame("its ring holds no valid record; it is read no further"),
        )

    def _resolve(self, pump: Pump, record: Any) -> None:
        """A reference: copy the payload and deliver it; or fetch the segment first, with what follows waiting behind."""
        flags, peer, seq, route, topic, envelope, body = record
        pair = topic is None
        try:
            reference = read_reference(body)
            segment = peer.cache.get(reference.uid)
            if segment is None:
                pump.pause(peer.info.slot, pair, True)
                peer.stalled[pair] = []
                self._spawn(self._fetch(peer, pair, reference.uid, record))
                return
            payload = segment.copy(reference.generation, reference.length)
        except (BadFrame, ValueError) as error:
            self._sink.failed(f"large payload of member {peer.id}", error)
            payload, reference = None, None
        if reference is not None:
            pump.released(peer.info.slot, pair, reference.number)
        if payload is not None:
            self._sink.deliver([(flags & ~REFERENCE | DATA, peer, seq, route, topic, envelope, payload)])
        elif not pair:
            pump.lost(peer.info.slot, seq, seq)
            self._sink.gap(peer, seq, seq)
        else:
            self._sink.failed(f"member {peer.id}", BadFrame("a large payload was gone before it was read"))

    async def _fetch(self, peer: RingPeer, pair: bool, uid: int, record: Any) -> None:
        """Get the segment, then deliver what waited for it."""
        try:
            await self._fetch_segment(peer, uid)
        except BusError as error:
            self._sink.failed(f"large payload of member {peer.id}", error)
        pump = self._pump
        waiting = [record, *peer.stalled.pop(pair, [])]
        if pump is None or self._closed:
            return
        if peer.cache.get(uid) is None:
            _flags, _, seq, *_ = record
            if not pair:
                pump.lost(peer.info.slot, seq, seq)
                self._sink.gap(peer, seq, seq)
            waiting = waiting[1:]
        self._deliver_special(pump, waiting)
        if pair not in peer.stalled:
            pump.pause(peer.info.slot, pair, False)
            pump.handled()
        self.pump_soon()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recheck(self) -> None:
        """The backstop. What it finds is looked at again: a doorbell may be on its way."""
        pump = self._pump
        if pump is None or self._closed:
            return
        self._recheck_timer = self._loop.call_later(self._options.recheck, self._recheck)
        if not self._soon and pump.pending():
            self._loop.call_later(0.05, self._recheck_again, self.wakes)
        self._give_back_idle(time.monotonic())
        if self._waiting:
            self.pump_soon()

    def _recheck_again(self, wakes: int) -> None:
        if (
            self._pump is not None
            and not self._closed
            and wakes == self.wakes
            and not self._soon
            and self._pump.pending()
        ):
            self.missed += 1
            self.pump_soon()

    # --- publishing ------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        writer = self._writer or self._make_ring()
        if len(body) > self._options.inline_bytes:
            seq = self._publish_large(writer, topic, envelope, body, flags)
        else:
            seq = writer.put(topic, envelope, body, flags)
        if self._listening:
            self.pump_soon()
        if seq == 0:
            self._holding.held_up()
        elif self._gates:
            self._holding.went_through()
        return seq

    def _make_ring(self) -> Writer:
        if self._closed or self._pump is None:
            raise Closed("this member has left the bus")
        fd, segment = make(RING, self._options.ring_bytes, self._slot)
        self._ring = (fd, segment)
        writer = self._writer = Writer(segment)
        for number in range(len(self._shards)):
            self._add_bell(writer, number)
        for slot, page in self._gates.values():
            writer.gate(slot, page, self._slot, False)
        own = self.peer(self.id)
        assert own is not None
        self._pump.writer(own, segment, self._slot, True)
        own.ring_uid = segment.uid
        self._membership.send(wire.RingMade(segment.uid), [fd])
        return writer

    def _publish_large(self, writer: Writer, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        reclaim(self._leases, self._released(), self._pool)
        segment = self._pool.take(len(body))
        if segment is None:
            return 0
        reference = refer(self._leases, segment, body)
        seq = writer.put(topic, envelope, reference, flags & ~DATA | REFERENCE)
        if seq == 0:
            self._pool.give(segment)
        else:
            commit(self._leases, segment)
            own = self._peers[self.id]
            if own.cache.get(segment.uid) is None:
                own.cache.add(segment.uid, self._pool.fds[segment.uid])
        return seq

    def _released(self) -> int:
        """Up to which large broadcast payload the segments may be used again."""
        kept = self._leases.count - _LARGE_IN_FLIGHT
        uid = self._ring[1].uid if self._ring is not None else 0
        for member, (_, page) in self._gates.items():
            entry = page.entry(self._slot)
            kept = min(kept, max(entry[6] if entry[0] == uid else 0, self._gate_since[member]))
        return kept

    def _evict_slowest(self, held: float) -> None:
        slowest = self._writer.slowest() if self._writer is not None else None
        if slowest is not None:
            self._evict(slowest[0], held)

    def _evict(self, slot: int, held: float) -> None:
        for member, (gated, _) in list(self._gates.items()):
            if gated == slot:
                self.ungate(member)
                self.evictions += 1
                if member == self.id:
                    self._sink.evicted(member, held)
                else:
                    self._membership.send(wire.Evict(member, held))

    # --- pairs -----------------------------------------------------------------------------------------------------
    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        peer = self._peers.get(member)
        link = peer.link if peer is not None else None
        if link is None or link.writer is None:
            self._make_link(member)
            return False
        if len(body) > self._options.inline_bytes:
            sent = self._send_large(link, envelope, body, flags)
        else:
            sent = link.writer.put(b"", envelope, body, flags) != 0
        if not sent and not link.waiting:
            assert self._pump is not None
            assert peer is not None
            link.waiting = True
            self._waiting[member] = link
            self._pump.want_room(peer.info.slot, link.uid)
            self.pump_soon()  # it may have made room before it saw that we wait
        return sent

    def _send_large(self, link: OutLink, envelope: bytes, body: bytes, flags: int) -> bool:
        assert link.writer is not None
        assert link.page is not None
        entry = link.page.entry(self._slot)
        reclaim(link.leases, entry[7], self._pool)
        segment = self._pool.take(len(body))
        if segment is None:
            return False
        if not link.writer.put(b"", envelope, refer(link.leases, segment, body), flags & ~DATA | REFERENCE):
            self._pool.give(segment)
            return False
        commit(link.leases, segment)
        return True

    def _offer_room(self) -> None:
        """Links that waited may go on; those that still have no room wait again."""
        waiting, self._waiting = self._waiting, {}
        for member, link in waiting.items():
            link.waiting = False
            peer = self._peers.get(member)
            if peer is None or peer.link is not link:
                continue
            self._sink.writable(member)
            if not link.waiting and self._pump is not None:
                self._pump.want_room(peer.info.slot, 0)

    def _make_link(self, member: str) -> None:
        peer = self.peer(member)
        if peer is None or self._closed:
            raise PeerLost(f"member {member} is not on the bus", member)
        if peer.link is None:
            fd, segment = make(RING, self._options.pair_bytes, self._slot)
            peer.link = OutLink(segment.uid, fd, segment)
            self._spawn(self._connect(peer, peer.link))

    async def _connect(self, peer: RingPeer, link: OutLink) -> None:
        """Hand our ring to the member and learn how to wake it."""
        try:
            page_fd, wake, pidfd = await self._membership.link(peer.id, link.uid, link.fd)
        except (BusError, ValueError) as error:
            if peer.link is link:
                self._drop_link(peer)
                self._sink.unsendable(peer.id, error if isinstance(error, BusError) else BadFrame(str(error)))
            return
        try:
            if peer.link is not link or self._closed:
                os.close(wake)
                os.close(pidfd)
                return
            link.page, link.wake, link.pidfd = attach(page_fd, PAGE), wake, pidfd
            writer = Writer(link.segment)
            writer.gate(0, link.page, self._slot, True)
            writer.member(0, wake, link.page)
            link.writer = writer
            self._bell.watch_death(pidfd, peer.id)
        finally:
            os.close(page_fd)
        self._sink.writable(peer.id)

    def _drop_link(self, peer: RingPeer) -> None:
        link, peer.link = peer.link, None
        if link is not None:
            self._waiting.pop(peer.id, None)
            reclaim(link.leases, link.leases.count, self._pool)
            if link.pidfd >= 0:
                self._bell.forget_death(link.pidfd)
            link.close()

    def _drop_pair(self, peer: RingPeer) -> None:
        if peer.pair_uid and self._pump is not None:
            self._pump.detach(peer.info.slot, True)
            self._bell.forget_death(peer.pair_pidfd)
            os.close(peer.pair_wake)
            peer.pair_uid, peer.pair_pidfd, peer.pair_wake = 0, -1, -1

    def _give_back_idle(self, now: float) -> None:
        """Pairs that nobody used for a while; their reader has read all."""
        for peer in self._peers.values():
            link = peer.link
            if link is None or link.writer is None or link.page is None:
                continue
            counters = link.writer.counters()
            reclaim(link.leases, link.page.entry(self._slot)[7], self._pool)
            slowest = link.writer.slowest()
            if counters[0] != link.sent or link.leases.out or slowest is None or slowest[1] != counters[1]:
                link.sent, link.idle_since = counters[0], now
            elif now - link.idle_since > self._options.pair_idle:
                self._membership.send(wire.Unlink(peer.id, link.uid))
                self._drop_link(peer)

    # --- the rest --------------------------------------------------------------------------------------------------
    async def register(self, names: Sequence[str]) -> None:
        await self._membership.register(names)

    async def unregister(self, names: Sequence[str]) -> None:
        await self._membership.unregister(names)

    def listen(self, on: bool) -> None:
        assert self._pump is not None
        if on != self._listening:
            self._listening = on
            self._bell.watch_shard(self._shards[self._slot // SHARD][1] if on else -1)
            self._pump.listen(on)
            self.pump_soon()

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        if reliable and self.id not in self._gates:
            self._add_gate(self.id, self._slot, self._page)
        elif not reliable:
            self.ungate(self.id)
        await self._membership.subscribed(patterns, reliable)

    async def replay(self) -> list[Record]:
        pump = self._pump
        if pump is None:
            return []
        found: list[Record] = []
        for peer in [peer for peer in self._peers.values() if peer.ring_uid]:
            for record in pump.replay(peer.info.slot):
                if record[0] & REFERENCE:
                    payload = await self._replay_large(peer, record[6])
                    if payload is None:
                        continue
                    record = (record[0] & ~REFERENCE | DATA, *record[1:6], payload)
                found.append(record)
        return found

    async def _replay_large(self, peer: RingPeer, body: bytes) -> bytes | None:
        try:
            reference = read_reference(body)
            if peer.cache.get(reference.uid) is None:
                await self._fetch_segment(peer, reference.uid)
            segment = peer.cache.get(reference.uid)
            return None if segment is None else segment.copy(reference.generation, reference.length)
        except (BusError, ValueError):
            return None  # no longer held, as `replay` says

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        return await self._settling.settled(seq, topic, published, within)

    def page_for_settling(self) -> tuple[int, Segment, int]:
        """(our slot, our own page, uid of our ring)"""
        return self._slot, self._page, self._ring[1].uid if self._ring is not None else 0

    async def fetch_page(self, member: str) -> Segment:
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
        seq, _, _, rung, written, held, allocated = self._writer.counters() if self._writer else (0,) * 7
        links = [
            peer.link.writer.counters() for peer in self._peers.values() if peer.link and peer.link.writer
        ]
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
            "wakes": self.wakes,
            "missed_wakes": self.missed,
            "evictions": self.evictions,
            "large_memory": self._pool.bytes,
            "registry_dropped": self._membership.dropped,
        }

    async def readers(self) -> list[ReaderStatus]:
        if self._writer is None:
            return []
        return await self._settling.readers(self._writer.counters()[0])
