"""Read rings: one pump for all rings that this process reads.

native/attend.c handles each ring of the doorbell. The rare cases are here: large payloads, gaps, the last messages of a
member that has gone, earlier messages, and `recheck`, which looks for missed wake-ups; its counter must stay 0.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from transports.bus.carrier import Sink
from transports.bus.errors import BadFrame, BusError, PeerLost
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.delivery import CAUGHT, Onward
from transports.bus.rings.large import Reference, expect_length, read_reference
from transports.bus.rings.native import DATA, REFERENCE, Pump
from transports.bus.rings.pairs import Pairs
from transports.bus.rings.peer import RingPeer

_GAP, _BROKEN = 0, -1  # kinds of reports of the pump


class RingReader:
    """Reader of one member.

    `fetch(peer, uid)` maps a large segment of a peer, `tidy()` is called at each recheck, and `ended(fds)` when other
    descriptors behind the doorbell are ready.
    """

    def __init__(
        self,
        options: BusOptions,
        sink: Sink,
        pairs: Pairs,
        peers: dict[str, RingPeer],
        fetch: Callable[[RingPeer, int], Awaitable[None]],
        tidy: Callable[[], None],
        ended: Callable[[list[int]], None],
    ) -> None:
        self._options, self._sink, self._pairs, self._peers = options, sink, pairs, peers
        self._fetch_segment, self._tidy, self._ended = fetch, tidy, ended
        self._loop = asyncio.get_running_loop()
        self._pump: Pump | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._recheck_timer: asyncio.TimerHandle | None = None
        self.closed = self.listening = False
        self._held = False  # a RELIABLE listener is full
        self.missed = 0

    def placed(self, pump: Pump) -> None:
        """Set the pump, and what it calls; the parts are in the order of native/pump.h."""
        delivery = self._sink.delivery
        host = (
            delivery.direct,
            delivery.route,
            delivery.fan_out,
            delivery.newest,
            delivery.flush,
            CAUGHT,
            delivery.raised,
            self._special,
            self._ended,
            self._pairs.waiting,
            self._pairs.offer_room,
            self._loop.call_soon,
        )
        options = self._options
        pump.attend(host, options.drain_records, round(1e9 * options.linger), round(1e9 * options.spin))
        self._pump = pump

    @property
    def wakes(self) -> int:
        """Number of wake-ups."""
        return self._pump.wakes if self._pump is not None else 0

    def listen(self, on: bool) -> None:
        """Start or stop reading broadcasts."""
        assert self._pump is not None
        self.listening = on
        self._pump.listen(on)
        self.soon()

    def close(self) -> None:
        """Stop reading."""
        self.closed = True
        for task in self._tasks:
            task.cancel()
        if self._recheck_timer is not None:
            self._recheck_timer.cancel()

    def close_pump(self) -> None:
        """Close the pump: it is in a cycle that the garbage collector cannot see."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.close()

    def soon(self) -> None:
        """Read in the next turn of the loop."""
        if self._pump is not None and not self.closed:
            self._pump.soon()

    def _drain(self, pump: Pump) -> int:
        records = pump.drain(self._options.drain_records)
        if records:
            if pump.special:
                self._deliver_special(pump, records)
            else:
                pump.deliver(records)
            pump.handled()
        return len(records)

    def _advance(self, pump: Pump) -> bool:
        """Drain; return whether there was any record, even one without a subscriber."""
        before = pump.counters()
        return self._drain(pump) > 0 or pump.counters() != before

    def park(self) -> None:
        """Sleep until the doorbell rings, unless there is something to read."""
        if self._pump is not None and not self.closed and not self._pump.park():
            self.soon()

    def drain_last_of(self, peer: RingPeer, gone: bool = False) -> None:
        """Deliver all that the rings of a member still hold, before they are closed.

        `gone`: the member has left or died. Large payloads that are not mapped here went with it, and are lost.
        """
        pump = self._pump
        if pump is None:
            return
        peer.gone = gone
        for pair in (False, True):
            waiting = peer.stalled.pop(pair, None) if gone else None
            if waiting:
                self._lose(pump, waiting[0], PeerLost(f"member {peer.id} is gone, and its segments with it", peer.id))
                self._deliver_special(pump, waiting[1:])
            if pair not in peer.stalled:
                pump.pause(peer.info.slot, pair, False)  # a full listener no longer holds it up: its writer has gone
            end = self._ends(peer, pair)  # later messages are not waited for: a lost member may write on
            while self._is_before(peer, pair, end) and self._advance(pump):
                pass

    def hold(self, on: bool) -> None:
        """Leave broadcasts in their rings for now: a RELIABLE listener is full."""
        self._held = on
        if self._pump is not None and self.listening:
            for peer in self._peers.values():
                if peer.ring_uid and False not in peer.stalled:
                    self._pump.pause(peer.info.slot, False, on)
            self.soon()

    def pause_if_held(self, peer: RingPeer) -> None:
        """Leave the messages of a new ring in it while a RELIABLE listener is full."""
        if self._pump is not None and self._held:
            self._pump.pause(peer.info.slot, False, True)

    def drain_all(self) -> None:
        """Deliver what is in the rings now, and no more: a callback may publish one message for each that it gets."""
        now = [(peer, pair, self._ends(peer, pair)) for peer in self._peers.values() for pair in (False, True)]
        while any(self._is_before(*ring) for ring in now if not self._held or ring[1]):
            if self._pump is None or not self._advance(self._pump):
                break

    def _ends(self, peer: RingPeer, pair: bool) -> int:
        state = self._pump.state(peer.info.slot, pair) if self._pump is not None else None
        return state[1] if state is not None else 0

    def _is_before(self, peer: RingPeer, pair: bool, end: int) -> bool:
        """Return whether a ring is not read up to `end` yet, and can be."""
        state = self._pump.state(peer.info.slot, pair) if self._pump is not None else None
        return state is not None and state[0] < end and not state[3] and pair not in peer.stalled

    def _special(self, records: Sequence[Any]) -> None:
        if self._pump is not None:
            self._deliver_special(self._pump, records)

    def _deliver_special(self, pump: Pump, records: Sequence[Any]) -> None:
        """Deliver a batch with gaps, references or a broken ring in it."""
        onward = Onward()
        plain: list[Message] = []
        for record in records:
            is_report = type(record) is tuple  # (kind, peer, first, last) of a broadcast ring, not a message
            peer = record[1] if is_report else record.peer
            pair = not is_report and not record.topic
            behind = peer.stalled.get(pair) if peer.stalled else None
            if behind is not None:
                behind.append(record)
            elif not is_report and record.flags & DATA:
                plain.append(record)
            else:
                if plain:
                    with onward:
                        pump.deliver(plain)
                    plain = []
                with onward:
                    if not is_report:
                        self._resolve(pump, record)
                    elif record[0] == _GAP:
                        self._sink.gap(*record[1:])
                    else:
                        self._broken(peer)
        if plain:
            with onward:
                pump.deliver(plain)
        onward.end()

    def _broken(self, peer: RingPeer) -> None:
        """Report a ring with an invalid record."""
        self._sink.failed(
            f"ring of member {peer.id} ({peer.info.label})",
            BadFrame("its ring holds no valid record; it is read no further"),
        )

    def _resolve(self, pump: Pump, message: Message) -> None:
        """Copy the payload behind a reference and deliver it; or fetch its segment first, while later records wait."""
        peer, seq, topic = message.peer, message.seq, message.topic
        pair = not topic
        reference: Reference | None = None
        payload: bytes | None = None
        failure: BusError = BadFrame("a large payload was gone before it was read")
        try:
            reference = read_reference(message.body)
            if not pair and self._sink.delivery.routes.get(topic, self) is None:  # without a subscriber here
                pump.released(peer.info.slot, pair, reference.number)
                return
            expect_length(reference, self._options.payload_limit)
            segment = peer.cache.get(reference.uid)
            if segment is None and peer.gone:
                self._lose(pump, message, PeerLost(f"member {peer.id} is gone, and its segments with it", peer.id))
                return
            if segment is None:
                pump.pause(peer.info.slot, pair, True)
                peer.stalled[pair] = [message]
                self.spawn(self._fetch(peer, pair, reference.uid))
                return
            payload = segment.copy(reference.generation, reference.length)
        except (BadFrame, ValueError) as error:
            failure = error if isinstance(error, BadFrame) else failure
            self._sink.failed(f"large payload of member {peer.id}", error)
        if reference is not None:
            pump.released(peer.info.slot, pair, reference.number)
        if payload is not None:
            pump.deliver([_with_payload(message, payload)])
        elif not pair:
            pump.lost(peer.info.slot, seq, seq)
            self._sink.gap(peer, seq, seq)
        else:
            self._sink.undelivered(message, failure)

    def _lose(self, pump: Pump, message: Message, error: BusError) -> None:
        """Report a message whose large payload cannot be read, and release its segment."""
        peer, pair = message.peer, not message.topic
        pump.released(peer.info.slot, pair, read_reference(message.body).number)
        if pair:
            self._sink.undelivered(message, error)
        else:
            self._sink.failed(f"large payload of member {peer.id}", error)
            pump.lost(peer.info.slot, message.seq, message.seq)
            self._sink.gap(peer, message.seq, message.seq)

    async def _fetch(self, peer: RingPeer, pair: bool, uid: int) -> None:
        """Map a segment, then deliver the records that waited for it."""
        failure: BusError = BadFrame("its segment is not the one that it named")
        try:
            await self._fetch_segment(peer, uid)
        except BusError as error:
            failure = error
        pump = self._pump
        waiting = peer.stalled.pop(pair, [])
        if pump is None or self.closed or not waiting:  # nothing waits: the member has gone meanwhile
            return
        if peer.cache.get(uid) is None:
            self._lose(pump, waiting[0], failure)
            waiting = waiting[1:]
        try:
            self._deliver_special(pump, waiting)
        finally:
            if pair not in peer.stalled:
                pump.pause(peer.info.slot, pair, self._held and not pair)
                pump.handled()
            self.soon()

    def recheck(self) -> None:
        """Look for a missed wake-up; look again before it counts, for a doorbell may be on its way."""
        pump = self._pump
        if pump is None or self.closed:
            return
        self._recheck_timer = self._loop.call_later(self._options.recheck, self.recheck)
        if not pump.due and pump.pending():
            self._loop.call_later(0.05, self._recheck_again, pump.wakes)
        self._tidy()
        if self._pairs.waiting:
            self.soon()

    def _recheck_again(self, wakes: int) -> None:
        pump = self._pump
        if pump is not None and not self.closed and wakes == pump.wakes and not pump.due and pump.pending():
            self.missed += 1
            self.soon()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends, or until the reader closes."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def replay(self) -> list[Message]:
        """Return earlier messages that the rings still hold."""
        pump = self._pump
        if pump is None:
            return []
        found: list[Message] = []
        for peer in [peer for peer in self._peers.values() if peer.ring_uid]:
            for message in pump.replay(peer.info.slot):
                if message.flags & REFERENCE:
                    payload = await self._replay_large(peer, message.body)
                    if payload is None:
                        continue
                    message = _with_payload(message, payload)
                found.append(message)
        return found

    async def _replay_large(self, peer: RingPeer, body: bytes) -> bytes | None:
        try:
            reference = read_reference(body)
            expect_length(reference, self._options.payload_limit)
            if peer.cache.get(reference.uid) is None:
                await self._fetch_segment(peer, reference.uid)
            segment = peer.cache.get(reference.uid)
            return None if segment is None else segment.copy(reference.generation, reference.length)
        except (BusError, ValueError):
            return None  # no longer held


def _with_payload(message: Message, payload: bytes) -> Message:
    """Put the payload in the place of the reference to it."""
    flags = message.flags & ~REFERENCE | DATA
    return Message(flags, message.peer, message.seq, message.route, message.topic, message.envelope, payload)
