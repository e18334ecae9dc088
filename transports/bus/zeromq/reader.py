"""The reading side: what other members publish, put in order, asked for again where it is missing, and delivered in batches.

Here is also what they want to know of it: how far this member got (`Ack`, `Query`, `State`), and whether the way is open.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from transports.bus.carrier import Sink
from transports.bus.errors import BadFrame, DeadlineExceeded
from transports.bus.failpoints import reach
from transports.bus.messages import Message
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.history import Published
from transports.bus.zeromq.inbound import Inbound
from transports.bus.zeromq.peer import SendToPeer, ZmqPeer, message
from transports.bus.zeromq.queries import PendingQueries
from transports.bus.zeromq.sockets import Sockets

WITHIN = 5.0  # what another member is given to answer
_PROBE_AGAIN = 0.02
_WANT_AGAIN = 0.005


class ZmqReader:
    def __init__(
        self, sink: Sink, sockets: Sockets, peers: Mapping[str, ZmqPeer], answers: PendingQueries, tell: SendToPeer
    ) -> None:
        self._sink, self._sockets, self._peers, self._tell = sink, sockets, peers, tell
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._id = ""
        self._batch: list[Message] = []
        self._due = False  # the batch is delivered in the loop's next turn
        self._wanting: asyncio.TimerHandle | None = None
        self._past: dict[int, list[Message]] = {}
        self.listening = self.reliable = self._closed = False
        self.received = self.received_bytes = self.repaired = self.garbage = 0
        self._lost = self._gaps = 0  # of writers that are no longer listened to

    def placed(self, member: str) -> None:
        self._id = member

    def close(self) -> None:
        self._closed = True
        if self._wanting is not None:
            self._wanting.cancel()

    # --- whom it listens to ------------------------------------------------------------------------------------------
    def listen(self, on: bool) -> None:
        self.listening = on
        if not on:
            for peer in self._peers.values():
                if peer.inbound is not None:
                    self._remember(peer.inbound)
                    peer.inbound = None

    def lost_writer(self, peer: ZmqPeer) -> bool:
        """It has gone, and its repairs will never come. Whether anything was heard of it."""
        inbound = peer.inbound
        if inbound is None:
            return False
        while inbound.missing() is not None:
            self._gone(peer, inbound, inbound.newest)
        self.deliver_batch()
        self._remember(inbound)
        return self.listening or inbound.newest > 0

    def _remember(self, inbound: Inbound[Published]) -> None:
        """What was lost stays counted when its writer is no longer listened to."""
        self._lost += inbound.lost
        self._gaps += inbound.gap_count

    async def open_way(self, peer: ZmqPeer, deadline: float) -> None:
        """Until something that the writer published for us came through, and all before it."""
        seq = -1
        while self._peers.get(peer.id) is peer and not self._closed:
            if seq < 0:
                probe: asyncio.Future[int] = self._loop.create_future()
                token = self._answers.expect(_answer_to(probe))
                self._tell(peer, wire.Probe(self._id, token))
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
                    f"member {peer.id} ({peer.info.label}) did not answer within {WITHIN:g} s: its event loop is blocked, or"
                    " its endpoint cannot be reached"
                )

    # --- what comes in -----------------------------------------------------------------------------------------------
    def published(self, parts: list[bytes]) -> None:
        """From SUB."""
        try:
            head = wire.unpack(parts[1])
            if isinstance(head, wire.Tick):
                self._ticked(head)
            elif isinstance(head, wire.Broadcast) and len(parts) == 4:
                peer = self._peers.get(head.sender)
                if peer is not None:
                    self._take(peer, Published(head.seq, head.flags, parts[0], parts[2], parts[3]))
            else:
                raise BadFrame("not a published message")
        except (BadFrame, IndexError) as error:
            self.reject(error)

    def repair(self, peer: ZmqPeer, head: wire.Repair, parts: list[bytes]) -> None:
        if peer.inbound is not None:
            self.repaired += 1
            self._take(peer, Published(head.seq, head.flags, parts[1], parts[2], parts[3]))

    def _take(self, peer: ZmqPeer, item: Published) -> None:
        inbound = peer.inbound
        if inbound is None:
            return
        was_missing = inbound.missing() is not None
        self._hand_over(peer, inbound.take(item.seq, item))
        reach("zmq_taken")
        if not was_missing:
            self._want_missing(peer, inbound)

    def _ticked(self, tick: wire.Tick) -> None:
        peer = self._peers.get(tick.sender)
        if peer is None or not self.listening:
            return
        if peer.inbound is None:
            peer.inbound = Inbound(tick.seq + 1)
        else:
            was_missing = peer.inbound.missing() is not None
            peer.inbound.heard_of(tick.seq)
            if not was_missing:
                self._want_missing(peer, peer.inbound)
        self._answers.told(tick.token, tick.sender, tick.seq)

    def _want_missing(self, peer: ZmqPeer, inbound: Inbound[Published]) -> None:
        missing = inbound.missing()
        if missing is not None and not self._sockets.paused:  # a full listener wants no repairs either
            self._tell(peer, wire.Want(self._id, *missing))
            if self._wanting is None:
                self._wanting = self._loop.call_later(_WANT_AGAIN, self._want_again)

    def _want_again(self) -> None:
        """Repairs come in batches, and may be dropped like anything else: ask until nothing is missing."""
        self._wanting = None
        for peer in self._peers.values():
            if peer.inbound is not None:
                self._want_missing(peer, peer.inbound)

    def resume(self) -> None:
        """What was left where it is may be heard now; what is missing then is asked for."""
        if self._wanting is None and not self._closed:
            self._wanting = self._loop.call_later(_WANT_AGAIN, self._want_again)

    def gone(self, peer: ZmqPeer, last: int) -> None:
        """Its writer no longer has what is missing up to `last`."""
        if peer.inbound is not None:
            self._gone(peer, peer.inbound, last)
            self._want_missing(peer, peer.inbound)

    def _gone(self, peer: ZmqPeer, inbound: Inbound[Published], last: int) -> None:
        gap, ready = inbound.gone(last)
        if gap is not None:
            self.deliver_batch()  # what came before the gap is told before it
            self._sink.gap(peer, *gap)
        self._hand_over(peer, ready)

    def reject(self, error: Exception) -> None:
        self.garbage += 1
        self._sink.failed("ZeroMQ message", error)

    # --- what is delivered -------------------------------------------------------------------------------------------
    def _hand_over(self, peer: ZmqPeer, ready: Sequence[tuple[int, Published]]) -> None:
        routes = self._sink.delivery.routes
        for _, item in ready:
            try:
                topic = item.topic.decode()
            except UnicodeDecodeError as error:
                self.reject(BadFrame(f"a topic that is not text: {error}"))
                continue
            if topic in routes and routes[topic] is None:
                continue
            self.received += 1
            self.received_bytes += len(item.body)
            self._batch.append(message(peer, item, topic, routes))
        if not self._due:
            self._due = True
            self._loop.call_soon(self.deliver_batch)

    def direct(self, peer: ZmqPeer, head: wire.Direct, parts: list[bytes]) -> None:
        """To this member alone; what was published before it is handled before it."""
        self.received += 1
        if self._batch:
            self.deliver_batch()
        self._sink.delivery.deliver([Message(head.flags, peer, 0, None, "", parts[1], parts[2])])
        reach("zmq_direct_delivered")

    def deliver_batch(self) -> None:
        self._due = False
        batch, self._batch = self._batch, []
        if batch and not self._closed:
            self._sink.delivery.deliver(batch)
            reach("zmq_delivered")
        for peer in self._peers.values():
            if peer.inbound is not None and (peer.queries or self.reliable):
                self._answer_queries(peer)
                if self.reliable:
                    self._tell(peer, wire.Ack(self._id, peer.inbound.next - 1))
                    reach("zmq_acknowledged")

    # --- how far it got ----------------------------------------------------------------------------------------------
    def queried(self, peer: ZmqPeer, query: wire.Query) -> None:
        reach("zmq_queried")
        if peer.inbound is not None and query.seq < 2**63:
            peer.inbound.heard_of(query.seq)
            self._want_missing(peer, peer.inbound)
        peer.queries.append((query.seq, query.token))
        if not self._due:
            self._answer_queries(peer)

    def _answer_queries(self, peer: ZmqPeer) -> None:
        waiting, peer.queries = peer.queries, []
        for seq, token in waiting:
            verdict = peer.inbound.verdict(seq) if peer.inbound is not None else "seen"
            if verdict == "lagging":
                peer.queries.append((seq, token))
            else:
                self._tell(peer, wire.QueryAnswer(self._id, token, verdict))
                reach("zmq_answered")

    def say_state(self, peer: ZmqPeer, token: int) -> None:
        inbound = peer.inbound
        state = (inbound.next, inbound.lost, inbound.gap_count) if inbound is not None else (1, 0, 0)
        self._tell(peer, wire.StateIs(self._id, token, *state))

    def lost_and_gaps(self) -> tuple[int, int]:
        inbound = [peer.inbound for peer in self._peers.values() if peer.inbound is not None]
        return (
            self._lost + sum(one.lost for one in inbound),
            self._gaps + sum(one.gap_count for one in inbound),
        )

    # --- what was published before -----------------------------------------------------------------------------------
    async def replay(self) -> list[Message]:
        """What other writers still hold of what is behind us."""
        found: list[Message] = []
        waiting = {peer.id for peer in self._peers.values() if peer.id != self._id and peer.inbound is not None}
        token = self._answers.expect(lambda member, _: waiting.discard(member))
        self._past[token] = found
        for peer in [self._peers[member] for member in waiting]:
            assert peer.inbound is not None
            self._tell(peer, wire.WantPast(self._id, token, peer.inbound.next))
        try:
            await until(lambda: not waiting & self._peers.keys(), WITHIN)
        finally:
            self._answers.done(token)
            del self._past[token]
        return found

    def past(self, peer: ZmqPeer, head: wire.Past, parts: list[bytes]) -> None:
        found = self._past.get(head.token)
        if found is not None:
            topic = parts[1].decode(errors="replace")
            found.append(Message(head.flags, peer, head.seq, None, topic, parts[2], parts[3]))


def _answer_to(probe: "asyncio.Future[int]") -> Callable[[str, int], None]:
    return lambda _, seq: None if probe.done() else probe.set_result(seq)
