"""Pairs: rings from this member to one other; made at the first message, gated by the reader, closed when idle."""

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from transports.bus.carrier import Sink
from transports.bus.errors import BadFrame, BusError
from transports.bus.options import BusOptions
from transports.bus.rings.doorbell import Doorbell, expect_doorbell
from transports.bus.rings.large import SegmentPool, commit, reclaim, refer
from transports.bus.rings.native import DATA, PAGE, REFERENCE, RING, Pump, Segment, Writer
from transports.bus.rings.peer import OutLink, RingPeer
from transports.bus.rings.segments import attach, make

Connect = Callable[[str, int, int], Awaitable[tuple[int, int, int]]]
"""(member, uid, ring descriptor) -> descriptors of the member's page, doorbell and pidfd."""


class Pairs:
    """Rings to other members. `connect` hands a ring to its reader."""

    def __init__(self, options: BusOptions, sink: Sink, pool: SegmentPool, bell: Doorbell, connect: Connect) -> None:
        self._options, self._sink, self._pool, self._bell = options, sink, pool, bell
        self._hand_over = connect
        self._slot = -1
        self._pump: Pump | None = None
        self.waiting: dict[str, tuple[RingPeer, OutLink]] = {}  # links without room
        self.closed = False

    def placed(self, slot: int, pump: Pump) -> None:
        """Set the slot that the registry gave, and the pump."""
        self._slot, self._pump = slot, pump

    def put(self, peer: RingPeer, link: OutLink, envelope: bytes, body: bytes, flags: int) -> bool:
        """Write a frame. False: there is no room, and the reader knows that this member waits for it."""
        assert link.writer is not None
        if len(body) > self._options.inline_bytes:
            sent = self._put_large(link, link.writer, envelope, body, flags)
        else:
            sent = link.writer.put(b"", envelope, body, flags) != 0
        if not sent and not link.waiting and self._pump is not None:
            link.waiting = True
            self.waiting[peer.id] = (peer, link)
            self._pump.want_room(peer.info.slot, link.uid)
        return sent

    def _put_large(self, link: OutLink, writer: Writer, envelope: bytes, body: bytes, flags: int) -> bool:
        assert link.page is not None
        self._reclaim(link, link.page)
        if link.leases.full(len(body)):
            return False
        segment = self._pool.take(len(body), bool(link.leases.out))
        if segment is None:
            return False
        if not writer.put(b"", envelope, refer(link.leases, segment, body), flags & ~DATA | REFERENCE):
            self._pool.give(segment)
            return False
        commit(link.leases, segment)
        return True

    def _reclaim(self, link: OutLink, page: Segment) -> None:
        """Take back what the reader has released of this ring. Before it reads the ring, its page is about an earlier
        one, which was given back."""
        *_, pair, released = page.entry(self._slot)
        if pair == link.uid:
            reclaim(link.leases, released, self._pool)

    def offer_room(self) -> None:
        """Let the links that waited write again; those that still find no room wait again."""
        waiting = list(self.waiting.items())
        self.waiting.clear()
        for member, (peer, link) in waiting:
            link.waiting = False
            if peer.link is not link:
                continue
            self._sink.writable(member)
            if not link.waiting and self._pump is not None:
                self._pump.want_room(peer.info.slot, 0)

    def begin(self, peer: RingPeer) -> Coroutine[Any, Any, None] | None:
        """Make the ring to a member, if there is none; the caller has to await the rest."""
        if peer.link is not None:
            return None
        fd, segment = make(RING, self._options.pair_bytes, self._slot)
        peer.link = OutLink(segment.uid, fd, segment)
        return self._connect(peer, peer.link)

    async def _connect(self, peer: RingPeer, link: OutLink) -> None:
        """Hand the ring to its reader, and get the descriptors that wake it."""
        try:
            page_fd, wake, pidfd = await self._hand_over(peer.id, link.uid, link.fd)
        except BusError as error:
            if peer.link is link:
                self.drop(peer)
                self._sink.unsendable(peer.id, error)
            return
        try:
            if peer.link is not link or self.closed:
                os.close(wake)
                os.close(pidfd)
                return
            link.wake = wake
            try:
                self._bell.watch_death(pidfd, peer.id)
            except BadFrame:
                os.close(pidfd)
                raise
            link.pidfd = pidfd
            link.page = attach(page_fd, PAGE)
            expect_doorbell(wake)
            writer = Writer(link.segment)
            writer.gate(0, link.page, self._slot, True)
            writer.member(0, wake, link.page)
            link.writer = writer
            self._sink.way_to(peer.id, writer.put)
        except BadFrame as error:
            self.drop(peer)
            self._sink.unsendable(peer.id, error)
            return
        finally:
            os.close(page_fd)
        self._sink.writable(peer.id)

    def drop(self, peer: RingPeer) -> None:
        """Close the ring to a member."""
        link, peer.link = peer.link, None
        if link is not None:
            self._sink.way_to(peer.id, None)
            self.waiting.pop(peer.id, None)
            reclaim(link.leases, link.leases.count, self._pool)
            if link.pidfd >= 0:
                self._bell.forget_death(link.pidfd)
            link.close()

    def close(self) -> None:
        """Drop the pump: it is in a cycle that the garbage collector cannot see."""
        self.waiting.clear()
        self._pump = None

    def all_read(self, peers: Iterable[RingPeer]) -> bool:
        """Return whether the readers have released all large payloads."""
        for peer in peers:
            link = peer.link
            if link is not None and link.page is not None:
                self._reclaim(link, link.page)
                if link.leases.out:
                    return False
        return True

    def give_back_idle(self, peers: Iterable[RingPeer], unlinked: Callable[[str, int], None]) -> None:
        """Close the rings that were not used for `BusOptions.pair_idle`, and whose reader has read all."""
        now = time.monotonic()
        for peer in peers:
            link = peer.link
            if link is None or link.writer is None or link.page is None:
                continue
            self._reclaim(link, link.page)
            counters, slowest = link.writer.counters(), link.writer.slowest()
            if counters[0] != link.sent or link.leases.out or slowest is None or slowest[1] != counters[1]:
                link.sent, link.idle_since = counters[0], now
            elif now - link.idle_since > self._options.pair_idle:
                self.drop(peer)  # first: frames of another thread are in the ring before the reader closes it
                unlinked(peer.id, link.uid)
