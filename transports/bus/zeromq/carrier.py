"""The ZeroMQ carrier: PUB/SUB for broadcasts, PUSH/PULL for the rest, and the same promises as the rings.

    writer                                      reader
    PUB  --- topic, number, message ---------->  SUB   in order, or `Want` what is missing
    PULL <-- Probe, Want, Ack, Query ----------  PUSH
    PUSH --- Repair, Gone, Answer ------------>  PULL

What ZeroMQ drops at its high-water mark is noticed by number and repaired from the writer's history; what is no longer
there is a Gap. A reader that subscribes has probed the way of every writer before `subscribe` returns.
"""

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from transports.bus.carrier import Peer, ReaderStatus, Sink
from transports.bus.directory import Directory
from transports.bus.errors import BadFrame, Closed, DeadlineExceeded, PeerLost
from transports.bus.events import MemberInfo
from transports.bus.failpoints import reach
from transports.bus.holding import Holding
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.receipt import Settled
from transports.bus.registry.door import Door, UnixDoor
from transports.bus.registry.election import runtime_directory
from transports.bus.registry.membership import Membership
from transports.bus.registry.state import NoShards, Shards
from transports.bus.tally import Departed
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.answers import Answers
from transports.bus.zeromq.history import History, Published
from transports.bus.zeromq.inbound import Inbound
from transports.bus.zeromq.settling import Settling
from transports.bus.zeromq.sockets import Sockets
from transports.bus.zeromq.tcp_door import TcpDoor

_RETRY_SEND = 0.001
_PROBE_AGAIN = 0.02
_WANT_AGAIN = 0.005
_TICK_AFTER = 0.02  # after the last message: how a reader learns that the last ones were dropped
_LAST_WORDS = 0.05  # of a dead member, still in the pipes
_WITHIN = 5.0
_COUNTED = (
    "sent",
    "received",
    "received_bytes",
    "repaired",
    "garbage",
    "held_up",
    "evictions",
    "wakes",
    "lost",
    "gaps",
)
_EARLY = 1024  # messages of members that the directory does not know yet


class ZmqPeer(Peer):
    __slots__ = ("endpoints", "inbound", "queries")

    def __init__(self, info: MemberInfo, endpoints: dict[str, str]) -> None:
        super().__init__(info)
        self.endpoints = endpoints
        self.inbound: Inbound[Published] | None = None  # None: not listened to yet
        self.queries: list[tuple[int, int]] = []  # (seq, token) that it asked about


class ZmqCarrier:
    name = "zmq"
    layout = 0

    def __init__(self, bus: str, options: BusOptions, sink: Sink) -> None:
        self._options, self._sink = options, sink
        self._loop = asyncio.get_running_loop()
        self.directory = Directory()
        self.id = ""
        self.shares_clock = not options.endpoint
        door: Door
        if options.endpoint:
            door = TcpDoor(bus, options)
            bind = f"tcp://{options.bind_host or '127.0.0.1'}:*"
        else:
            door = UnixDoor(bus)
            bind = f"ipc://{runtime_directory()}/{bus}.{secrets.token_hex(4)}."
        self._sockets = Sockets(bind, options.curve, self._published, self._told, options.drain_records)
        self.endpoints = self._sockets.endpoints | ({"key": options.curve.public} if options.curve else {})
        self._peers: dict[str, ZmqPeer] = {}
        self._history = History(options.ring_bytes, options.pool_bytes, options.inline_bytes)
        self._seq = 0
        self._gates: dict[str, int] = {}  # RELIABLE readers: handled up to
        self._own: deque[Published] = deque()
        self._own_handled = 0
        self._holding = Holding(options.hold_within, sink.publishable, self._evict_slowest)
        self._listening = self._reliable = self._closed = self._joined = False
        self._waiting: set[str] = set()  # members whose queue was full
        self._early: deque[list[bytes]] = deque(maxlen=_EARLY)
        self._answers = Answers()
        self._settling = Settling(self, self._answers)
        self._past: dict[int, list[Message]] = {}
        self._departed: deque[Departed] = deque(maxlen=256)
        self._tick: asyncio.TimerHandle | None = None
        self._wanting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._batch: list[Any] = []
        self._flushing = False
        self._membership = Membership(bus, options, self, door)
        self._counts = dict.fromkeys(_COUNTED, 0)

    # --- life --------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        try:
            await self._membership.join()
        except BaseException:
            await self.close(0.0)
            raise
        self._joined = True

    async def close(self, within: float) -> None:
        if self._closed:
            return
        if self._joined:
            await self._last_words(within)
        self._closed = True
        self._holding.close()
        for timer in (self._tick, self._wanting):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self._membership.leave(within)
        self._sockets.close()
        await asyncio.to_thread(self._sockets.term)

    async def _last_words(self, within: float) -> None:
        """Wait until whoever listens has handled what was published, and our messages have arrived."""
        told = set(self._sockets.told) | {m for m in self.directory.members if self.directory.patterns(m)}
        told.discard(self.id)
        answered: set[str] = set()
        token = self._answers.expect(lambda member, _: answered.add(member))
        for member in told:
            self.tell(member, wire.Query(self.id, token, self._seq))
        await until(lambda: not (told - answered) & self.directory.members.keys(), min(within, 1.0))
        self._answers.done(token)

    def forked(self) -> None:
        self._closed = True
        self._membership.forked()

    # --- membership calls these --------------------------------------------------------------------------------------
    def make_shards(self) -> Shards:
        return NoShards()

    def hello_fds(self) -> list[int]:
        return []

    def shard_fds(self) -> list[int]:
        return []

    def welcomed(self, member: str, slot: int, shards: list[int]) -> None:
        self.id = self.id or member

    def add_shard(self, bell_fd: int, event_fd: int) -> None:
        os.close(bell_fd)
        os.close(event_fd)

    def announce_again(self) -> None:
        """Endpoints travel with Hello; there is nothing else to announce."""

    def connect(self, member: str, endpoints: dict[str, str]) -> None:
        info = self.directory.members.get(member)
        if info is None or member in self._peers or not {"pub", "pull"} <= endpoints.keys():
            return
        peer = self._peers[member] = ZmqPeer(info, endpoints)
        if member == self.id:
            return
        self._sockets.follow(member, endpoints["pub"], endpoints.get("key", ""))
        if self._joined and self._listening:
            peer.inbound = Inbound()  # it joined after us: we hear it from its first message on
            self._spawn(self._open_way(peer, self._loop.time() + _WITHIN))
        early, self._early = self._early, deque(maxlen=_EARLY)
        for parts in early:
            self._told(parts)

    def member_lost(self, member: str, reason: str) -> None:
        """What it still said may be in the pipes: a moment later nothing is."""
        if member != self.id and member in self.directory.members:
            self._sockets.look_again()
            self._loop.call_later(_LAST_WORDS, self._forget, member, reason)

    def _forget(self, member: str, reason: str) -> None:
        info = self.directory.members.get(member)
        if info is None or self._closed:
            return
        self._departed.append(
            Departed(info, dict(self.directory.patterns(member)), time.monotonic(), "lagging")
        )
        self._gates.pop(member, None)
        self._waiting.discard(member)
        peer = self._peers.pop(member, None)
        self._sockets.forget(member)
        if peer is not None and peer.inbound is not None:
            self._nothing_more_from(peer, peer.inbound)
            self._deliver_batch()
            self._remember(peer.inbound)
            if peer.inbound.newest or self._listening:
                self._sink.writer_gone(peer)
        self._sink.directory_changed(self.directory.leave(member, reason))
        self._sink.publishable()

    def _remember(self, inbound: Inbound[Published]) -> None:
        """What was lost stays counted when its writer is no longer listened to."""
        self._counts["lost"] += inbound.lost
        self._counts["gaps"] += inbound.gap_count

    def _nothing_more_from(self, peer: ZmqPeer, inbound: Inbound[Published]) -> None:
        """Its repairs will never come."""
        while inbound.missing() is not None:
            self._gone(peer, inbound, inbound.newest)

    def read_ring(self, member: str, uid: int, fresh: bool, fd: int) -> None:
        raise BadFrame("a ring on a bus without rings")

    def read_pair(self, member: str, uid: int, fds: list[int]) -> None:
        for fd in fds[2:]:
            os.close(fd)
        raise BadFrame("a ring on a bus without rings")

    def pair_given_back(self, member: str, uid: int) -> None:
        raise BadFrame("a ring on a bus without rings")

    def gate(self, member: str, page_fd: int) -> None:
        self._gates.setdefault(member, self._seq)

    def ungate(self, member: str) -> None:
        self._gates.pop(member, None)

    def evicted_by(self, writer: str, held: float) -> None:
        self._sink.evicted(writer, held)

    def failed(self, where: str, error: BaseException) -> None:
        self._sink.failed(where, error)

    def changed(self, changes: Sequence[Any]) -> None:
        if changes:
            self._sink.directory_changed(changes)

    # --- publishing --------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        if self._closed:
            raise Closed("this member has left the bus")
        if self._gates:
            if not self._history.make_room(topic, envelope, body, min(self._gates.values()) + 1):
                self._counts["held_up"] += 1
                self._holding.held_up()
                return 0
            self._holding.since = 0.0
        self._seq += 1
        seq = self._seq
        published = Published(seq, flags, topic, envelope, body)
        self._history.add(published)
        reach("zmq_numbered")
        self._sockets.publish([topic, wire.pack(wire.Broadcast(self.id, seq, flags)), envelope, body])
        reach("zmq_published")
        if self._tick is None:
            self._tick = self._loop.call_later(_TICK_AFTER, self._tick_now, seq)
        if self._listening:
            if not self._own:
                self._loop.call_soon(self._deliver_own)
            self._own.append(published)
        else:
            self._own_handled = seq
            if self.id in self._gates:
                self._gates[self.id] = seq
        return seq

    def _tick_now(self, seq: int) -> None:
        self._tick = None
        self._sockets.publish([b"\0", wire.pack(wire.Tick(self.id, self._seq, 0))])
        reach("zmq_ticked")
        if seq != self._seq:
            self._tick = self._loop.call_later(_TICK_AFTER, self._tick_now, self._seq)

    def _deliver_own(self) -> None:
        if self._closed or self._sockets.paused:
            return
        own = self._peers[self.id]
        items = [self._own.popleft() for _ in range(min(len(self._own), self._options.drain_records))]
        if items:
            self._sink.delivery.deliver(
                [self._message(own, item.seq, item, item.topic.decode()) for item in items]
            )
            self._own_handled = items[-1].seq
            if self.id in self._gates:
                self._gates[self.id] = self._own_handled
        if self._own:
            self._loop.call_soon(self._deliver_own)

    def _message(self, peer: ZmqPeer, seq: int, item: Published, topic: str) -> Message:
        return Message(
            item.flags, peer, seq, self._sink.delivery.routes.get(topic), topic, item.envelope, item.body
        )

    def _evict_slowest(self, held: float) -> None:
        if self._gates:
            member = min(self._gates, key=self._gates.__getitem__)
            del self._gates[member]
            self._counts["evictions"] += 1
            if member == self.id:
                self._sink.evicted(member, held)
            else:
                self._membership.evict(member, held)

    # --- what comes in -----------------------------------------------------------------------------------------------
    def _published(self, parts: list[bytes]) -> None:
        """From SUB."""
        try:
            head = wire.unpack(parts[1])
            if isinstance(head, wire.Tick):
                self._ticked(head)
            elif isinstance(head, wire.Broadcast) and len(parts) == 4:
                peer = self._peers.get(head.sender)
                if peer is not None and peer.inbound is not None:
                    item = Published(head.seq, head.flags, parts[0], parts[2], parts[3])
                    self._take(peer, peer.inbound, item)
            else:
                raise BadFrame("not a published message")
        except (BadFrame, IndexError) as error:
            self._garbage(error)

    def _take(self, peer: ZmqPeer, inbound: Inbound[Published], item: Published) -> None:
        was_missing = inbound.missing() is not None
        self._hand_over(peer, inbound.take(item.seq, item))
        reach("zmq_taken")
        if not was_missing:
            self._want_missing(peer, inbound)

    def _want_missing(self, peer: ZmqPeer, inbound: Inbound[Published]) -> None:
        missing = inbound.missing()
        if missing is not None:
            self._tell(peer, wire.Want(self.id, *missing))
            if self._wanting is None:
                self._wanting = self._loop.call_later(_WANT_AGAIN, self._want_again)

    def _want_again(self) -> None:
        """Repairs come in batches, and may be dropped like anything else: ask until nothing is missing."""
        self._wanting = None
        for peer in self._peers.values():
            if peer.inbound is not None:
                self._want_missing(peer, peer.inbound)

    def _hand_over(self, peer: ZmqPeer, ready: Sequence[tuple[int, Published]]) -> None:
        routes = self._sink.delivery.routes
        for seq, item in ready:
            try:
                topic = item.topic.decode()
            except UnicodeDecodeError as error:
                self._garbage(BadFrame(f"a topic that is not text: {error}"))
                continue
            if topic in routes and routes[topic] is None:
                continue
            self._counts["received"] += 1
            self._counts["received_bytes"] += len(item.body)
            self._batch.append(self._message(peer, seq, item, topic))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._deliver_batch)

    def _deliver_batch(self) -> None:
        self._flushing = False
        batch, self._batch = self._batch, []
        if batch and not self._closed:
            self._sink.delivery.deliver(batch)
            reach("zmq_delivered")
        for peer in self._peers.values():
            if peer.inbound is not None and (peer.queries or self._reliable):
                self._answer_queries(peer)
                if self._reliable:
                    self._tell(peer, wire.Ack(self.id, peer.inbound.next - 1))
                    reach("zmq_acknowledged")

    def _answer_queries(self, peer: ZmqPeer) -> None:
        waiting, peer.queries = peer.queries, []
        for seq, token in waiting:
            verdict = peer.inbound.verdict(seq) if peer.inbound is not None else "seen"
            if verdict == "lagging":
                peer.queries.append((seq, token))
            else:
                self._tell(peer, wire.Answer(self.id, token, verdict))
                reach("zmq_answered")

    def _gone(self, peer: ZmqPeer, inbound: Inbound[Published], last: int) -> None:
        gap, ready = inbound.gone(last)
        if gap is not None:
            self._deliver_batch()  # what came before the gap is told before it
            self._sink.gap(peer, *gap)
        self._hand_over(peer, ready)

    def _ticked(self, tick: wire.Tick) -> None:
        peer = self._peers.get(tick.sender)
        if peer is None or not self._listening:
            return
        if peer.inbound is None:
            peer.inbound = Inbound(tick.seq + 1)
        else:
            was_missing = peer.inbound.missing() is not None
            peer.inbound.heard_of(tick.seq)
            if not was_missing:
                self._want_missing(peer, peer.inbound)
        self._answers.told(tick.token, tick.sender, tick.seq)

    def _told(self, parts: list[bytes]) -> None:
        """From PULL."""
        self._counts["wakes"] += 1
        try:
            head = wire.unpack(parts[0])
            peer = self._peers.get(head.sender)
            if peer is None:
                self._early.append(parts)  # the directory may be about to tell us
                return
            self._handle(peer, head, parts)
        except (BadFrame, IndexError) as error:
            self._garbage(error)

    def _handle(self, peer: ZmqPeer, head: wire.Head, parts: list[bytes]) -> None:
        match head:
            case wire.Direct():
                self._counts["received"] += 1
                self._batch_flush_before_direct()
                self._sink.delivery.deliver([Message(head.flags, peer, 0, None, "", parts[1], parts[2])])
                reach("zmq_direct_delivered")
            case wire.Probe():
                self._sockets.publish([b"\0", wire.pack(wire.Tick(self.id, self._seq, head.token))])
            case wire.Want():
                self._repair(peer, head)
            case wire.Repair():
                if peer.inbound is not None:
                    self._counts["repaired"] += 1
                    self._take(
                        peer, peer.inbound, Published(head.seq, head.flags, parts[1], parts[2], parts[3])
                    )
            case wire.Gone():
                if peer.inbound is not None:
                    self._gone(peer, peer.inbound, head.last)
                    self._want_missing(peer, peer.inbound)
            case wire.Ack():
                if peer.id in self._gates:
                    self._gates[peer.id] = max(self._gates[peer.id], head.seq)
            case wire.Query():
                reach("zmq_queried")
                if peer.inbound is not None and head.seq < 2**63:
                    peer.inbound.heard_of(head.seq)
                    self._want_missing(peer, peer.inbound)
                peer.queries.append((head.seq, head.token))
                if not self._flushing:
                    self._answer_queries(peer)
            case wire.Answer():
                self._answers.told(head.token, peer.id, head.verdict)
            case wire.WantPast():
                last = head.before - 1 if head.before else self._seq
                for item in self._history.between(1, last):
                    self._tell(
                        peer,
                        wire.Past(self.id, head.token, item.seq, item.flags),
                        item.topic,
                        item.envelope,
                        item.body,
                    )
                self._tell(peer, wire.Answer(self.id, head.token, "all"))
            case wire.Past():
                found = self._past.get(head.token)
                if found is not None:
                    topic = parts[1].decode(errors="replace")
                    found.append(Message(head.flags, peer, head.seq, None, topic, parts[2], parts[3]))
            case wire.State():
                inbound = peer.inbound
                state = (inbound.next, inbound.lost, inbound.gap_count) if inbound is not None else (1, 0, 0)
                self._tell(peer, wire.StateIs(self.id, head.token, *state))
            case wire.StateIs():
                self._answers.told(head.token, peer.id, head)
            case _:
                raise BadFrame(f"an unexpected {type(head).__name__}")

    def _batch_flush_before_direct(self) -> None:
        if self._batch:
            self._deliver_batch()

    def _repair(self, peer: ZmqPeer, want: wire.Want) -> None:
        items = self._history.between(want.first, want.last)
        oldest = items[0].seq if items else min(want.last, self._seq) + 1
        if oldest > want.first:
            self._tell(peer, wire.Gone(self.id, oldest - 1))
        for item in items[: self._options.drain_records]:
            self._tell(peer, wire.Repair(self.id, item.seq, item.flags), item.topic, item.envelope, item.body)
            reach("zmq_repaired")

    def _garbage(self, error: Exception) -> None:
        self._counts["garbage"] += 1
        self._sink.failed("ZeroMQ message", error)

    # --- sending -----------------------------------------------------------------------------------------------------
    def _tell(self, peer: ZmqPeer, head: wire.Head, *more: bytes) -> bool:
        if peer.id == self.id or self._sockets.closed:
            return False
        endpoints = peer.endpoints
        return self._sockets.tell(
            peer.id, endpoints["pull"], endpoints.get("key", ""), [wire.pack(head), *more]
        )

    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        peer = self._peers.get(member)
        if peer is None or self._closed:
            raise PeerLost(f"member {member} is not on the bus", member)
        sent = member not in self._waiting and self._tell(peer, wire.Direct(self.id, flags), envelope, body)
        if sent:
            self._counts["sent"] += 1
            reach("zmq_told")
        elif member not in self._waiting:
            self._waiting.add(member)
            self._loop.call_later(_RETRY_SEND, self._offer, member)
        return sent

    def _offer(self, member: str) -> None:
        if member in self._waiting and not self._closed:
            self._waiting.discard(member)
            self._sink.writable(member)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- subscribing -------------------------------------------------------------------------------------------------
    async def register(self, names: Sequence[str]) -> None:
        await self._membership.register(names)

    async def unregister(self, names: Sequence[str]) -> None:
        await self._membership.unregister(names)

    def listen(self, on: bool) -> None:
        if on == self._listening:
            return
        self._listening = on
        self._sockets.listen(on)
        if not on:
            self._own.clear()
            for peer in self._peers.values():
                if peer.inbound is not None:
                    self._remember(peer.inbound)
                    peer.inbound = None

    def hold(self, on: bool) -> None:
        self._sockets.pause(on)
        if not on and self._own:
            self._loop.call_soon(self._deliver_own)

    async def catch_up(self) -> None:
        await self._membership.sync()
        deadline = self._loop.time() + _WITHIN
        others = [peer for peer in self._peers.values() if peer.id != self.id]
        await asyncio.gather(*(self._open_way(peer, deadline) for peer in others))
        while self._own:
            self._deliver_own()
        self._deliver_batch()

    async def _open_way(self, peer: ZmqPeer, deadline: float) -> None:
        """Until something that the writer published for us came through, and all before it."""
        seq = -1
        while self._peers.get(peer.id) is peer and not self._closed:
            if seq < 0:
                probe: asyncio.Future[int] = self._loop.create_future()
                token = self._answers.expect(_answer_to(probe))
                self._tell(peer, wire.Probe(self.id, token))
                try:
                    async with asyncio.timeout(_PROBE_AGAIN):
                        seq = await probe
                except TimeoutError:
                    pass
                finally:
                    self._answers.done(token)
            elif peer.inbound is None or peer.inbound.next > seq or self._sockets.paused:
                return
            else:
                await asyncio.sleep(0.001)
            if self._loop.time() > deadline:
                raise DeadlineExceeded(
                    f"member {peer.id} ({peer.info.label}) did not answer within {_WITHIN:g} s: its event loop is blocked, or"
                    " its endpoint cannot be reached"
                )

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._reliable = reliable
        if reliable:
            self._gates.setdefault(self.id, self._own_handled)
        else:
            self._gates.pop(self.id, None)
        await self._membership.subscribed(patterns, reliable)
        self._deliver_batch()

    async def replay(self) -> list[Message]:
        own = self._peers[self.id]
        found: list[Message] = [
            self._message(own, item.seq, item, item.topic.decode())
            for item in self._history.between(1, self._own_handled)
        ]
        waiting = {
            peer.id for peer in self._peers.values() if peer.id != self.id and peer.inbound is not None
        }
        token = self._answers.expect(lambda member, _: waiting.discard(member))
        self._past[token] = found
        for peer in [self._peers[member] for member in waiting]:
            assert peer.inbound is not None
            self._tell(peer, wire.WantPast(self.id, token, peer.inbound.next))
        await until(lambda: not waiting & self._peers.keys(), _WITHIN)
        self._answers.done(token)
        del self._past[token]
        return found

    # --- receipts ----------------------------------------------------------------------------------------------------
    def departed(self) -> Collection[Departed]:
        return self._departed

    def newest(self) -> tuple[int, int]:
        return self._seq, self._own_handled

    def tell(self, member: str, head: wire.Head) -> None:
        peer = self._peers.get(member)
        if peer is not None:
            self._tell(peer, head)

    async def sync(self) -> None:
        await self._membership.sync()

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        return await self._settling.settled(seq, topic, published, within)

    async def readers(self) -> list[ReaderStatus]:
        return await self._settling.readers()

    def counters(self) -> dict[str, int]:
        inbound = [peer.inbound for peer in self._peers.values() if peer.inbound is not None]
        return {
            "published": self._seq,
            "pairs": len(self._sockets.told),
            "missed_wakes": 0,
            "registry_dropped": self._membership.dropped,
            **self._counts,
            "lost": self._counts["lost"] + sum(one.lost for one in inbound),
            "gaps": self._counts["gaps"] + sum(one.gap_count for one in inbound),
        }


def _answer_to(probe: "asyncio.Future[int]") -> Callable[[str, int], None]:
    return lambda _, seq: None if probe.done() else probe.set_result(seq)
