"""Read what other members publish: put it in order, ask again for what is missing, deliver it in batches.

The reader also answers their queries: how far this member has read (`Ack`, `Query`, `StateQuery`).
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
from transports.bus.zeromq.peer import SendToPeer, ZmqPeer, message_of
from transports.bus.zeromq.queries import PendingQueries
from transports.bus.zeromq.sockets import Sockets

WITHIN = 5.0  # seconds for another member to answer
_SILENT_WITHIN = 0.2  # seconds for one that did not answer the last time
_PROBE_AGAIN = 0.02  # seconds
_WANT_AGAIN = 0.005  # seconds


class ZmqReader:
    """Reader of one member. `send_to(peer, head)` sends to one other member."""

    def __init__(
        self, sink: Sink, sockets: Sockets, peers: Mapping[str, ZmqPeer], queries: PendingQueries, send_to: SendToPeer
    ) -> None:
        self._sink, self._sockets, self._peers, self._send_to = sink, sockets, peers, send_to
        self._queries = queries
        self._loop = asyncio.get_running_loop()
        self._id = ""
        self._batch: list[Message] = []
        self._due = False  # whether the batch is delivered in the loop's next turn
        self._wanting: asyncio.TimerHandle | None = None
        self._past: dict[int, list[Message]] = {}
        self.listening = self.reliable = self._closed = False
        self.received = self.received_bytes = self.repaired = self.garbage = 0
        self._lost = self._gaps = 0  # of writers that are no longer read

    def placed(self, member: str) -> None:
        """Set the id that the registry gave."""
        self._id = member

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        if self._wanting is not None:
            self._wanting.cancel()

    # --- writers -----------------------------------------------------------------------------------------------------
    def listen(self, on: bool) -> None:
        """Start or stop reading broadcasts."""
        self.listening = on
        if not on:
            for peer in self._peers.values():
                if peer.inbound is not None:
                    self._remember(peer.inbound)
                    peer.inbound = None

    def lost_writer(self, peer: ZmqPeer) -> bool:
        """Deliver the rest of a writer that has gone, without what is missing; return whether it had published."""
        inbound = peer.inbound
        if inbound is None:
            return False
        while inbound.missing() is not None:
            self._gone(peer, inbound, inbound.newest)
        self.deliver_batch()
        self._remember(inbound)
        return self.listening or inbound.newest > 0

    def _remember(self, inbound: Inbound[Published]) -> None:
        """Keep the counts of a writer that is no longer read."""
        self._lost += inbound.lost
        self._gaps += inbound.gap_count

    async def probe(self, peer: ZmqPeer, deadline: float) -> None:
        """Wait until something came through that the writer published as an answer, and all before it.

        A writer that does not answer until `deadline` is stopped, blocked or out of reach. Nobody waits for it: it is
        read from the first of its messages that comes.
        """
        seq = -1
        if peer.silent:
            deadline = min(deadline, self._loop.time() + _SILENT_WITHIN)
        while self._peers.get(peer.id) is peer and not self._closed:
            if seq < 0:
                answer: asyncio.Future[int] = self._loop.create_future()
                token = self._queries.expect(_set_result_of(answer))
                self._send_to(peer, wire.Probe(self._id, token))
                try:
                    async with asyncio.timeout(_PROBE_AGAIN):
                        seq = await answer
                except TimeoutError:
                    pass
                finally:
                    self._queries.done(token)
            elif peer.inbound is None or peer.inbound.next > seq or self._sockets.paused:
                return
            else:
                await asyncio.sleep(0.001)
            if self._loop.time() > deadline:
                if not peer.silent:
                    peer.silent = True
                    error = DeadlineExceeded(f"it did not answer within {WITHIN:g} s: it is stopped, blocked, or away")
                    self._sink.failed(f"probe of member {peer.id} ({peer.info.label})", error)
                return

    # --- input ------------------------------------------------------------------------------------------------------
    def published(self, parts: list[bytes]) -> None:
        """Handle a message from SUB: a broadcast or a tick."""
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
        """Take a message that the writer sent again."""
        if peer.inbound is not None:
            self.repaired += 1
            self._take(peer, Published(head.seq, head.flags, parts[1], parts[2], parts[3]))

    def _take(self, peer: ZmqPeer, item: Published) -> None:
        inbound = peer.inbound
        if inbound is None:
            if not peer.silent or not self.listening:
                return
            inbound = peer.inbound = Inbound(item.seq)
        was_missing = inbound.missing() is not None
        self._hand_over(peer, inbound.take(item.seq, item))
        reach("zmq_taken")
        if not was_missing:
            self._want_missing(peer, inbound)

    def _ticked(self, tick: wire.Tick) -> None:
        peer = self._peers.get(tick.sender)
        if peer is None or not self.listening:
            return
        peer.silent = False
        if peer.inbound is None:
            peer.inbound = Inbound(tick.seq + 1)
        else:
            was_missing = peer.inbound.missing() is not None
            peer.inbound.published_up_to(tick.seq)
            if not was_missing:
                self._want_missing(peer, peer.inbound)
        self._queries.answered(tick.token, tick.sender, tick.seq)

    def _want_missing(self, peer: ZmqPeer, inbound: Inbound[Published]) -> None:
        missing = inbound.missing()
        if missing is not None and not self._sockets.paused:  # a full listener wants no repairs either
            self._send_to(peer, wire.Want(self._id, *missing))
            if self._wanting is None:
                self._wanting = self._loop.call_later(_WANT_AGAIN, self._want_again)

    def _want_again(self) -> None:
        """Ask for repairs until nothing is missing: they come in batches, and may be dropped too."""
        self._wanting = None
        for peer in self._peers.values():
            if peer.inbound is not None:
                self._want_missing(peer, peer.inbound)

    def resume(self) -> None:
        """Ask for what is missing after broadcasts were left unread for a while."""
        if self._wanting is None and not self._closed:
            self._wanting = self._loop.call_later(_WANT_AGAIN, self._want_again)

    def gone(self, peer: ZmqPeer, last: int) -> None:
        """Give up what is missing up to `last`: the writer no longer has it."""
        if peer.inbound is not None:
            self._gone(peer, peer.inbound, last)
            self._want_missing(peer, peer.inbound)

    def _gone(self, peer: ZmqPeer, inbound: Inbound[Published], last: int) -> None:
        gap, ready = inbound.gone(last)
        if gap is not None:
            self.deliver_batch()  # messages before the gap are delivered before it
            self._sink.gap(peer, *gap)
        self._hand_over(peer, ready)

    def reject(self, error: Exception) -> None:
        """Count and report a message that is not valid."""
        self.garbage += 1
        self._sink.failed("ZeroMQ message", error)

    # --- delivery ----------------------------------------------------------------------------------------------------
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
            self._batch.append(message_of(peer, item, topic, routes))
        if not self._due:
            self._due = True
            self._loop.call_soon(self.deliver_batch)

    def direct(self, peer: ZmqPeer, head: wire.Direct, parts: list[bytes]) -> None:
        """Deliver a frame to this member, after all that was published before it."""
        self.received += 1
        if self._batch:
            self.deliver_batch()
        self._sink.delivery.deliver([Message(head.flags, peer, 0, None, "", parts[1], parts[2])])
        reach("zmq_direct_delivered")

    def deliver_batch(self) -> None:
        """Deliver the messages that wait, and answer the queries about them."""
        self._due = False
        batch, self._batch = self._batch, []
        if batch and not self._closed:
            self._sink.delivery.deliver(batch)
            reach("zmq_delivered")
        for peer in self._peers.values():
            if peer.inbound is not None and (peer.queries or self.reliable):
                self._answer_queries(peer)
                if self.reliable:
                    self._send_to(peer, wire.Ack(self._id, peer.inbound.next - 1))
                    reach("zmq_acknowledged")

    # --- progress ----------------------------------------------------------------------------------------------------
    def queried(self, peer: ZmqPeer, query: wire.Query) -> None:
        """Answer a query now, or once its message is handled."""
        reach("zmq_queried")
        if peer.inbound is not None and query.seq < 2**63:
            peer.inbound.published_up_to(query.seq)
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
                self._send_to(peer, wire.QueryAnswer(self._id, token, verdict))
                reach("zmq_answered")

    def send_state(self, peer: ZmqPeer, token: int) -> None:
        """Tell a writer how far this member has read its messages."""
        inbound = peer.inbound
        state = (inbound.next, inbound.lost, inbound.gap_count) if inbound is not None else (1, 0, 0)
        self._send_to(peer, wire.StateIs(self._id, token, *state))

    def lost_and_gaps(self) -> tuple[int, int]:
        """Return the numbers of lost messages and of gaps."""
        writers = [peer.inbound for peer in self._peers.values() if peer.inbound is not None]
        return (
            self._lost + sum(inbound.lost for inbound in writers),
            self._gaps + sum(inbound.gap_count for inbound in writers),
        )

    # --- earlier messages --------------------------------------------------------------------------------------------
    async def replay(self) -> list[Message]:
        """Return earlier messages that other writers still hold."""
        found: list[Message] = []
        waiting = {peer.id for peer in self._peers.values() if peer.id != self._id and peer.inbound is not None}
        token = self._queries.expect(lambda member, _: waiting.discard(member))
        self._past[token] = found
        for peer in [self._peers[member] for member in waiting]:
            assert peer.inbound is not None
            self._send_to(peer, wire.WantPast(self._id, token, peer.inbound.next))
        try:
            await until(lambda: not waiting & self._peers.keys(), WITHIN)
        finally:
            self._queries.done(token)
            del self._past[token]
        return found

    def past(self, peer: ZmqPeer, head: wire.Past, parts: list[bytes]) -> None:
        """Take an earlier message."""
        found = self._past.get(head.token)
        if found is not None:
            topic = parts[1].decode(errors="replace")
            found.append(Message(head.flags, peer, head.seq, None, topic, parts[2], parts[3]))


def _set_result_of(answer: "asyncio.Future[int]") -> Callable[[str, int], None]:
    return lambda _, seq: None if answer.done() else answer.set_result(seq)
