"""The publishing side: this member's numbered messages, what it keeps of them, and the RELIABLE readers that it waits for.

What this member hears of itself goes through its event loop, not through a socket.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from transports.bus.carrier import Sink
from transports.bus.errors import Closed
from transports.bus.failpoints import reach
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.holding import Holding
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.history import History, Published
from transports.bus.zeromq.peer import Tell, ZmqPeer, message
from transports.bus.zeromq.sockets import Sockets

_ROOM_WITHIN = 5.0  # for a reader to take what it asked for
_TICK_AFTER = 0.02  # after the last message: how a reader learns that the last ones were dropped


class Broadcast:
    """`evict(member, held)` says that the writer goes on without a RELIABLE reader of another process."""

    def __init__(
        self,
        options: BusOptions,
        sink: Sink,
        sockets: Sockets,
        peers: Mapping[str, ZmqPeer],
        evict: Callable[[str, float], None],
        tell: Tell,
    ) -> None:
        self._options, self._sink, self._sockets = options, sink, sockets
        self._peers, self._evict, self._tell = peers, evict, tell
        self._loop = asyncio.get_running_loop()
        self._id = ""
        self._history = History(options.ring_bytes, options.pool_bytes, options.inline_bytes)
        self._gates: dict[str, int] = {}  # RELIABLE readers: handled up to
        self._holding = Holding(options.hold_within, sink.publishable, self._evict_slowest)
        self._own: deque[Published] = deque()  # to be heard here
        self._tick: asyncio.TimerHandle | None = None
        self._listening = self._closed = False
        self.seq = self.handled = 0  # the last message, and the last that this member has handled itself
        self.held_up = self.evictions = 0

    def placed(self, member: str) -> None:
        self._id = member

    # --- publishing --------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
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
        """Says how far it has come to whoever listens; with a token, as the answer to a probe."""
        self._sockets.publish([b"\0", wire.pack(wire.Tick(self._id, self.seq, token))])

    # --- what it publishes to itself ---------------------------------------------------------------------------------
    def listen(self, on: bool) -> None:
        self._listening = on
        if not on:
            self._own.clear()

    def resume(self) -> None:
        """What was left where it is may be heard now."""
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
        """What has been published until now, and no more: a callback may publish for each message that it is handed."""
        last = self.seq
        while self._own and self._own[0].seq <= last and not (self._closed or self._sockets.paused):
            self._deliver_own()

    def _has_handled(self, seq: int) -> None:
        self.handled = seq
        if self._id in self._gates:
            self._gates[self._id] = seq

    def _message(self, item: Published) -> Message:
        return message(self._peers[self._id], item, item.topic.decode(), self._sink.delivery.routes)

    # --- RELIABLE readers --------------------------------------------------------------------------------------------
    def gate(self, member: str) -> None:
        """Drop nothing that this member has not acknowledged."""
        self._gates.setdefault(member, self.handled if member == self._id else self.seq)

    def ungate(self, member: str) -> None:
        self._gates.pop(member, None)

    def acknowledged(self, member: str, seq: int) -> None:
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

    # --- what others ask for again -----------------------------------------------------------------------------------
    def repair(self, peer: ZmqPeer, want: wire.Want) -> None:
        items = self._history.between(want.first, want.last)
        oldest = items[0].seq if items else min(want.last, self.seq) + 1
        if oldest > want.first:
            self._tell(peer, wire.Gone(self._id, oldest - 1))
        for item in items[: self._options.drain_records]:
            head = wire.Repair(self._id, item.seq, item.flags)
            self._tell(peer, head, item.topic, item.envelope, item.body)
            reach("zmq_repaired")

    async def send_past(self, peer: ZmqPeer, want: wire.WantPast) -> None:
        for item in self._history.between(1, want.before - 1 if want.before else self.seq):
            head = wire.Past(self._id, want.token, item.seq, item.flags)
            if not await self._tell_in_turn(peer, head, item.topic, item.envelope, item.body):
                return
        await self._tell_in_turn(peer, wire.Answer(self._id, want.token, "all"))

    async def _tell_in_turn(self, peer: ZmqPeer, head: wire.Head, /, *more: bytes) -> bool:
        """More than a queue holds may be held: wait until there is room in it."""
        return await until(lambda: self._peers.get(peer.id) is not peer or self._tell(peer, head, *more), _ROOM_WITHIN)

    def own_past(self) -> list[Message]:
        """What is still held of what this member has handled itself."""
        return [self._message(item) for item in self._history.between(1, self.handled)]

    def close(self) -> None:
        self._closed = True
        self._holding.close()
        if self._tick is not None:
            self._tick.cancel()
