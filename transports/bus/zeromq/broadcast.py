"""Publish on ZeroMQ: number the messages, keep the latest for repairs, and wait for RELIABLE readers.

This member's own subscribers get its messages through the event loop, not through a socket.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from transports.bus.carrier import Sink
from transports.bus.errors import Closed
from transports.bus.failpoints import reach
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.publications import Holding
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.history import Published, PublishHistory
from transports.bus.zeromq.peer import SendToPeer, ZmqPeer, message_of
from transports.bus.zeromq.sockets import Sockets

_ROOM_WITHIN = 5.0  # seconds for a reader to make room for the messages that it asked for
_TICK_AFTER = 0.02  # seconds after the last message: a tick shows a reader that the last ones were dropped


class ZmqBroadcast:
    """Publisher of one member. `evict(member, seconds)` reports that it no longer waits for another member."""

    def __init__(
        self,
        options: BusOptions,
        sink: Sink,
        sockets: Sockets,
        peers: Mapping[str, ZmqPeer],
        evict: Callable[[str, float], None],
        send_to: SendToPeer,
    ) -> None:
        self._options, self._sink, self._sockets = options, sink, sockets
        self._peers, self._evict, self._send_to = peers, evict, send_to
        self._loop = asyncio.get_running_loop()
        self._id = ""
        self._history = PublishHistory(options.ring_bytes, options.pool_bytes, options.inline_bytes)
        self._gates: dict[str, int] = {}  # RELIABLE reader -> last message that it has handled
        self._holding = Holding(options.hold_within, sink.publishable, self._evict_slowest)
        self._own: deque[Published] = deque()  # to be delivered to this member
        self._tick: asyncio.TimerHandle | None = None
        self._listening = self._closed = False
        self.seq = self.handled = 0  # last message published, and last that this member has handled itself
        self.held_up = self.evictions = 0

    def placed(self, member: str) -> None:
        """Set the id that the registry gave."""
        self._id = member

    # --- publishing --------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        """Publish; return the message's number, or 0 if a RELIABLE reader holds it up."""
        if self._closed:
            raise Closed("this member has left the bus")
        if self._gates:
            if not self._history.make_room(topic, envelope, body, min(self._gates.values()) + 1):
                self.held_up += 1
                self._holding.held_up()
                return 0
            self._holding.since = 0.0
        self.seq += 1
        seq = self.seq
        published = Published(seq, flags, topic, envelope, body)
        self._history.add(published)
        reach("zmq_numbered")
        self._sockets.publish([topic, wire.pack(wire.Broadcast(self._id, seq, flags)), envelope, body])
        reach("zmq_published")
        if self._tick is None:
            self._tick = self._loop.call_later(_TICK_AFTER, self._tick_now, seq)
        if self._listening:
            if not self._own:
                self._loop.call_soon(self._deliver_own)
            self._own.append(published)
        else:
            self._has_handled(seq)
        return seq

    def _tick_now(self, seq: int) -> None:
        self._tick = None
        self.tick(0)
        reach("zmq_ticked")
        if seq != self.seq:
            self._tick = self._loop.call_later(_TICK_AFTER, self._tick_now, self.seq)

    def tick(self, token: int) -> None:
        """Publish the number of the last message; with a token, as the answer to a probe."""
        self._sockets.publish([b"\0", wire.pack(wire.Tick(self._id, self.seq, token))])

    # --- delivery to this member -------------------------------------------------------------------------------------
    def listen(self, on: bool) -> None:
        """Start or stop delivering to this member."""
        self._listening = on
        if not on:
            self._own.clear()

    def resume(self) -> None:
        """Deliver what was held back."""
        if self._own:
            self._loop.call_soon(self._deliver_own)

    def _deliver_own(self) -> None:
        if self._closed or self._sockets.paused:
            return
        items = [self._own.popleft() for _ in range(min(len(self._own), self._options.drain_records))]
        if items:
            self._sink.delivery.deliver([self._message(item) for item in items])
            self._has_handled(items[-1].seq)
        self.resume()

    def deliver_all(self) -> None:
        """Deliver what is published now, and no more: a callback may publish one message for each that it gets."""
        last = self.seq
        while self._own and self._own[0].seq <= last and not (self._closed or self._sockets.paused):
            self._deliver_own()

    def _has_handled(self, seq: int) -> None:
        self.handled = seq
        if self._id in self._gates:
            self._gates[self._id] = seq

    def _message(self, item: Published) -> Message:
        return message_of(self._peers[self._id], item, item.topic.decode(), self._sink.delivery.routes)

    # --- RELIABLE readers --------------------------------------------------------------------------------------------
    def gate(self, member: str) -> None:
        """Keep all messages that a member has not acknowledged."""
        self._gates.setdefault(member, self.handled if member == self._id else self.seq)

    def ungate(self, member: str) -> None:
        """No longer wait for a member."""
        self._gates.pop(member, None)

    def acknowledged(self, member: str, seq: int) -> None:
        """Note the last message that a member has handled."""
        if member in self._gates:
            self._gates[member] = max(self._gates[member], seq)

    def _evict_slowest(self, held: float) -> None:
        if self._gates:
            member = min(self._gates, key=self._gates.__getitem__)
            del self._gates[member]
            self.evictions += 1
            if member == self._id:
                self._sink.evicted(member, held)
            else:
                self._evict(member, held)

    # --- repairs, and earlier messages -------------------------------------------------------------------------------
    def repair(self, peer: ZmqPeer, want: wire.Want) -> None:
        """Send messages again that a reader misses."""
        items = self._history.between(want.first, want.last)
        oldest = items[0].seq if items else min(want.last, self.seq) + 1
        if oldest > want.first:
            self._send_to(peer, wire.NoLongerHeld(self._id, oldest - 1))
        for item in items[: self._options.drain_records]:
            head = wire.Repair(self._id, item.seq, item.flags)
            self._send_to(peer, head, item.topic, item.envelope, item.body)
            reach("zmq_repaired")

    async def send_past(self, peer: ZmqPeer, want: wire.WantPast) -> None:
        """Send earlier messages to a new subscriber."""
        for item in self._history.between(1, want.before - 1 if want.before else self.seq):
            head = wire.Past(self._id, want.token, item.seq, item.flags)
            if not await self._send_when_room(peer, head, item.topic, item.envelope, item.body):
                return
        await self._send_when_room(peer, wire.QueryAnswer(self._id, want.token, "all"))

    async def _send_when_room(self, peer: ZmqPeer, head: wire.Head, /, *more: bytes) -> bool:
        """Send when the peer's queue has room: the history may hold more than a queue does."""
        return await until(
            lambda: self._peers.get(peer.id) is not peer or self._send_to(peer, head, *more), _ROOM_WITHIN
        )

    def own_past(self) -> list[Message]:
        """Return earlier messages that this member has handled itself and still holds."""
        return [self._message(item) for item in self._history.between(1, self.handled)]

    def close(self) -> None:
        """Publish no more."""
        self._closed = True
        self._holding.close()
        if self._tick is not None:
            self._tick.cancel()
