"""ZeroMQ carrier: PUB/SUB for broadcasts, PUSH/PULL for all else, with the guarantees of the rings.

    writer (broadcast.py)                       reader (reader.py)
    PUB  --- topic, number, message ---------->  SUB   in order, or `Want` what is missing
    PULL <-- Probe, Want, Ack, Query ----------  PUSH
    PUSH --- Repair, Gone, Answer ------------>  PULL

ZeroMQ drops messages at its high-water mark. The reader notices that by their numbers and asks the writer, whose
history repairs it; messages that it no longer holds are a Gap. Before `subscribe` returns, the reader has probed every
writer.

`ZmqCarrier` connects the two sides with the sockets and the registry, and implements `Carrier` with them.
"""

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any

from transports.bus.carrier import ReaderStatus, Sink
from transports.bus.directory import Directory
from transports.bus.errors import BadFrame, PeerLost
from transports.bus.failpoints import reach
from transports.bus.messages import Message
from transports.bus.options import BusOptions
from transports.bus.pubsub.tally import Departed
from transports.bus.receipt import Settled
from transports.bus.registry.connector import Connector, UnixConnector
from transports.bus.registry.election import remove_if_dead, runtime_directory
from transports.bus.registry.membership import Membership
from transports.bus.registry.seats import NoShards, Shards
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.broadcast import ZmqBroadcast
from transports.bus.zeromq.inbound import Inbound
from transports.bus.zeromq.peer import ZmqPeer
from transports.bus.zeromq.queries import PendingQueries
from transports.bus.zeromq.reader import WITHIN, ZmqReader
from transports.bus.zeromq.receipts import ZmqReceipts
from transports.bus.zeromq.sockets import Sockets, check_reachable
from transports.bus.zeromq.tcp_connector import TcpConnector

_RETRY_SEND = 0.001  # seconds until a full queue is tried again
_LAST_MESSAGES = 0.05  # seconds for the last messages of a dead member, which are still in the sockets
_EARLY = 1024  # messages of members that are not in the directory yet


class ZmqCarrier:
    """Carrier over ZeroMQ, and `Member` of the registry; these two say what each method does."""

    name = "zmq"
    layout = 0
    handing_over: "asyncio.Future[int] | None" = None  # what is queued in a process is lost with it

    def __init__(self, bus: str, options: BusOptions, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.directory = Directory()
        self.id = ""
        self.shares_clock = not options.endpoint
        connector: Connector
        self._directory = Path()  # of the sockets, without an endpoint
        if options.endpoint:
            connector = TcpConnector(bus, options)
            bind = f"tcp://{options.bind_host or '127.0.0.1'}:*"
        else:
            connector = UnixConnector(bus)
            self._directory = runtime_directory()
            bind = f"ipc://{self._directory}/{bus}.{secrets.token_hex(4)}."
        self._sockets = Sockets(bind, options.curve, self._published, self._received, options.drain_records)
        self.endpoints = self._sockets.endpoints | ({"key": options.curve.public} if options.curve else {})
        self._peers: dict[str, ZmqPeer] = {}
        self._closed = self._joined = False
        self._full: set[str] = set()  # members whose queue is full
        self._early: deque[list[bytes]] = deque(maxlen=_EARLY)
        self._queries = PendingQueries()
        self._receipts = ZmqReceipts(self, self._queries)
        self._departed: deque[Departed] = deque(maxlen=256)
        self._tasks: set[asyncio.Task[None]] = set()
        self._membership = Membership(bus, options, self, connector)
        self._broadcast = ZmqBroadcast(options, sink, self._sockets, self._peers, self._membership.evict, self._send_to)
        self._reader = ZmqReader(sink, self._sockets, self._peers, self._queries, self._send_to)
        self._sent = self._wakes = 0

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
        try:
            if self._joined:
                await self._wait_for_readers(within)
        finally:  # also if the loop ends meanwhile and cancels this task
            self._closed = True
            self._broadcast.close()
            self._reader.close()
            for task in self._tasks:
                task.cancel()
            try:
                await self._membership.leave(within)
            finally:
                self._sockets.close()
                await asyncio.to_thread(self._sockets.term)

    async def _wait_for_readers(self, within: float) -> None:
        """Wait until the subscribers have handled what was published, and all frames have arrived."""
        asked = set(self._sockets.receivers) | {m for m in self.directory.members if self.directory.patterns(m)}
        asked.discard(self.id)
        answered: set[str] = set()
        token = self._queries.expect(lambda member, _: answered.add(member))
        for member in asked:
            self.send_head(member, wire.Query(self.id, token, self._broadcast.seq))
        await until(lambda: not (asked - answered) & self.directory.members.keys(), min(within, 1.0))
        self._queries.done(token)

    def forked(self) -> None:
        self._closed = True
        self._membership.forked()

    # --- called by Membership ----------------------------------------------------------------------------------------
    def make_shards(self) -> Shards:
        return NoShards()

    def hello_fds(self) -> list[int]:
        return []

    def shard_fds(self) -> list[int]:
        return []

    def welcomed(self, member: str, slot: int, shards: list[int]) -> None:
        self.id = self.id or member
        self._broadcast.placed(self.id)
        self._reader.placed(self.id)

    def add_shard(self, bell_fd: int, event_fd: int) -> None:
        os.close(bell_fd)
        os.close(event_fd)

    def announce_again(self) -> None:
        """Do nothing: endpoints travel with Hello, and there is nothing else."""

    def connect(self, member: str, endpoints: dict[str, str]) -> None:
        info = self.directory.members.get(member)
        if info is None or member in self._peers or not {"pub", "pull"} <= endpoints.keys():
            return
        if member != self.id:
            try:
                check_reachable(endpoints["pull"])
                self._sockets.follow(member, endpoints["pub"], endpoints.get("key", ""))
            except BadFrame as error:  # this member cannot be reached; the others can
                self._sink.failed(f"endpoints of member {member} ({info.label})", error)
                return
        peer = self._peers[member] = ZmqPeer(info, endpoints)
        if member == self.id:
            return
        if self._joined and self._reader.listening:
            peer.inbound = Inbound()  # it joined later: it is read from its first message on
            self._spawn(self._reader.probe(peer, self._loop.time() + WITHIN))
        early, self._early = self._early, deque(maxlen=_EARLY)
        for parts in early:
            self._received(parts)

    def member_lost(self, member: str, reason: str) -> None:
        """Forget a member after a moment, in which its last messages come out of the sockets."""
        if member != self.id and member in self.directory.members:
            self._sockets.read_soon()
            self._loop.call_later(_LAST_MESSAGES, self._forget, member, reason)

    def _forget(self, member: str, reason: str) -> None:
        info = self.directory.members.get(member)
        if info is None or self._closed:
            return
        self._departed.append(Departed(info, dict(self.directory.patterns(member)), time.monotonic(), "lagging"))
        self._broadcast.ungate(member)
        self._full.discard(member)
        peer = self._peers.pop(member, None)
        self._sockets.forget(member)
        if peer is not None:
            self._remove_sockets(peer)
        if peer is not None and self._reader.lost_writer(peer):
            self._sink.writer_gone(peer)
        self._sink.directory_changed(self.directory.leave(member, reason))
        self._sink.publishable()

    def _remove_sockets(self, peer: ZmqPeer) -> None:
        """Remove the sockets of a member that was killed; one that left has removed them itself."""
        for endpoint in (peer.endpoints["pub"], peer.endpoints["pull"]):
            path = Path(endpoint.removeprefix("ipc://"))
            if endpoint.startswith("ipc://") and path.parent == self._directory and path.exists():
                remove_if_dead(path)

    def read_ring(self, member: str, uid: int, fresh: bool, fd: int) -> None:
        raise BadFrame("a ring on a bus without rings")

    def read_pair(self, member: str, uid: int, fds: list[int]) -> None:
        for fd in fds[2:]:
            os.close(fd)
        raise BadFrame("a ring on a bus without rings")

    def pair_given_back(self, member: str, uid: int) -> None:
        raise BadFrame("a ring on a bus without rings")

    def gate(self, member: str, page_fd: int) -> None:
        self._broadcast.gate(member)

    def ungate(self, member: str) -> None:
        self._broadcast.ungate(member)

    def evicted_by(self, writer: str, held: float) -> None:
        self._sink.evicted(writer, held)

    def failed(self, where: str, error: BaseException) -> None:
        self._sink.failed(where, error)

    def changed(self, changes: Sequence[Any]) -> None:
        if changes:
            self._sink.directory_changed(changes)

    # --- publishing --------------------------------------------------------------------------------------------------
    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        return self._broadcast.publish(topic, envelope, body, flags)

    # --- input ------------------------------------------------------------------------------------------------------
    def _published(self, parts: list[bytes]) -> None:
        """Handle a message from SUB."""
        self._reader.published(parts)

    def _received(self, parts: list[bytes]) -> None:
        """Handle a message from PULL."""
        self._wakes += 1
        try:
            head = wire.unpack(parts[0])
            peer = self._peers.get(head.sender)
            if peer is None:
                self._early.append(parts)  # the directory may know it soon
                return
            self._handle(peer, head, parts)
        except (BadFrame, IndexError) as error:
            self._reader.reject(error)

    def _handle(self, peer: ZmqPeer, head: wire.Head, parts: list[bytes]) -> None:
        match head:
            case wire.Direct():
                self._reader.direct(peer, head, parts)
            case wire.Probe():
                self._broadcast.tick(head.token)
            case wire.Want():
                self._broadcast.repair(peer, head)
            case wire.Repair():
                self._reader.repair(peer, head, parts)
            case wire.NoLongerHeld():
                self._reader.gone(peer, head.last)
            case wire.Ack():
                self._broadcast.acknowledged(peer.id, head.seq)
            case wire.Query():
                self._reader.queried(peer, head)
            case wire.WantPast():
                self._spawn(self._broadcast.send_past(peer, head))
            case wire.Past():
                self._reader.past(peer, head, parts)
            case wire.StateQuery():
                self._reader.send_state(peer, head.token)
            case wire.QueryAnswer():
                self._queries.answered(head.token, peer.id, head.verdict)
            case wire.StateIs():
                self._queries.answered(head.token, peer.id, head)
            case _:
                raise BadFrame(f"an unexpected {type(head).__name__}")

    # --- sending -----------------------------------------------------------------------------------------------------
    def _send_to(self, peer: ZmqPeer, head: wire.Head, /, *more: bytes) -> bool:
        if peer.id == self.id or self._sockets.closed:
            return False
        endpoints = peer.endpoints
        return self._sockets.push(peer.id, endpoints["pull"], endpoints.get("key", ""), [wire.pack(head), *more])

    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        peer = self._peers.get(member)
        if peer is None or self._closed:
            raise PeerLost(f"member {member} is not on the bus", member)
        sent = member not in self._full and self._send_to(peer, wire.Direct(self.id, flags), envelope, body)
        if sent:
            self._sent += 1
            reach("zmq_told")
        elif member not in self._full:
            self._full.add(member)
            self._loop.call_later(_RETRY_SEND, self._offer, member)
        return sent

    def _offer(self, member: str) -> None:
        if member in self._full and not self._closed:
            self._full.discard(member)
            self._sink.writable(member)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- subscribing -------------------------------------------------------------------------------------------------
    async def register(self, names: Sequence[str]) -> None:
        await self._membership.register(names)

    async def unregister(self, names: Sequence[str]) -> None:
        await self._membership.unregister(names)

    def withdraw(self, names: Sequence[str]) -> None:
        self._membership.withdraw(names)

    def listen(self, on: bool) -> None:
        if on != self._reader.listening:
            self._sockets.listen(on)
            self._broadcast.listen(on)
            self._reader.listen(on)

    def hold(self, on: bool) -> None:
        self._sockets.pause(on)
        if not on:
            self._broadcast.resume()
            self._reader.resume()

    async def catch_up(self) -> None:
        await self._membership.sync()
        deadline = self._loop.time() + WITHIN
        others = [peer for peer in self._peers.values() if peer.id != self.id]
        await asyncio.gather(*(self._reader.probe(peer, deadline) for peer in others))
        self._broadcast.deliver_all()
        self._reader.deliver_batch()

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._gate_own(reliable)
        await self._membership.subscribed(patterns, reliable)
        self._reader.deliver_batch()

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._gate_own(reliable)
        self._membership.unsubscribed(patterns, reliable)

    def _gate_own(self, reliable: bool) -> None:
        self._reader.reliable = reliable
        if reliable:
            self._broadcast.gate(self.id)
        else:
            self._broadcast.ungate(self.id)

    async def replay(self) -> list[Message]:
        own = self._broadcast.own_past()
        return own + await self._reader.replay()

    # --- receipts ----------------------------------------------------------------------------------------------------
    def departed(self) -> Collection[Departed]:
        """Return the members that have gone lately."""
        return self._departed

    def newest(self) -> tuple[int, int]:
        """Return the last message published, and the last that this member has handled itself."""
        return self._broadcast.seq, self._broadcast.handled

    def send_head(self, member: str, head: wire.Head) -> None:
        """Send a message without a body to one member."""
        peer = self._peers.get(member)
        if peer is not None:
            self._send_to(peer, head)

    async def sync(self) -> None:
        await self._membership.sync()

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        return await self._receipts.settled(seq, topic, published, within)

    async def readers(self) -> list[ReaderStatus]:
        return await self._receipts.readers()

    async def spins(self) -> dict[str, float]:
        return {}  # nobody does on this carrier

    def counters(self) -> dict[str, int]:
        broadcast, reader = self._broadcast, self._reader
        lost, gaps = reader.lost_and_gaps()
        return {
            "published": broadcast.seq,
            "held_up": broadcast.held_up,
            "evictions": broadcast.evictions,
            "sent": self._sent,
            "pairs": len(self._sockets.receivers),
            "received": reader.received,
            "received_bytes": reader.received_bytes,
            "repaired": reader.repaired,
            "lost": lost,
            "gaps": gaps,
            "garbage": reader.garbage,
            "wakes": self._wakes,
            "missed_wakes": 0,
            "registry_dropped": self._membership.dropped,
        }
