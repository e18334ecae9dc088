"""Broadcasts of one node, to and from all others: numbered, large ones in pieces, and their receipts."""

from typing import Protocol

from three_mode.cluster.core.actions import Action, CountCast, DeliverCast, FramesMissing
from three_mode.cluster.core.casts import CastsOf, ComingCasts, OwnCasts, Settling
from three_mode.cluster.core.frames import (
    AnyFrame,
    CastFrame,
    CountFrame,
    LargeCastFrame,
    LostCastFrame,
    SettleFrame,
)
from three_mode.cluster.core.large import LargeFrames
from three_mode.cluster.core.links import FrameNote, LinkOut, Note, Range
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import Peers

_SHARE, _MOST = 0.25, 0.1  # of the time of a receipt, at most so many seconds, for the way of the answer


class CastingNode(Protocol):
    """Interface of the node."""

    id: str
    peers: Peers
    own: OwnNames
    names: dict[str, NamesOf]
    large: LargeFrames

    def act(self, action: Action) -> None: ...
    def out_link(self, node: str) -> LinkOut: ...
    def in_link(self, node: str) -> int: ...
    def send_counted(self, now: float, node: str, frame: AnyFrame, note: Note | None = None) -> None: ...
    def send_all(self, frame: AnyFrame) -> None: ...


class Casting:
    """The broadcasts of a node, and those of others that come to it."""

    def __init__(self, node: CastingNode) -> None:
        self._node = node
        self.own = OwnCasts()
        self.of: dict[str, CastsOf] = {}
        """Node -> its broadcasts, as far as they have come."""
        self._coming: dict[str, ComingCasts] = {}
        self._asked: list[tuple[float, str, SettleFrame]] = []  # receipts of what has not come yet, until then

    # of this node -----------------------------------------------------------------------------------------------------
    def cast(self, now: float, topic: str, payload: bytes, sender: str, trace: str) -> int:
        """Send a broadcast to all nodes; return its number, 0 where no agent of another node listens."""
        node = self._node
        expected = {peer.id: view.listening(topic) for peer in node.peers.all() if (view := node.names.get(peer.id))}
        expected = {other: agents for other, agents in expected.items() if agents}
        if not expected:
            return 0
        number = self.own.next(expected)
        frame = CastFrame(number, topic, sender, trace, payload)
        if len(payload) <= node.large.piece:
            node.send_all(frame)
            return number
        links = {other: node.out_link(other).link for other in expected if node.peers.reachable(other)}
        node.send_all(LargeCastFrame(number, topic, sender, links))
        for other in links:
            if node.out_link(other).full or node.large.crowded(other, len(payload)):
                node.send_counted(now, other, LostCastFrame(number))
            else:
                node.send_counted(now, other, frame, FrameNote("cast", number))
        return number

    def lost(self, now: float, node: str, number: int) -> None:
        """Tell a node that a large broadcast does not come: a piece of it is missing."""
        self._node.send_counted(now, node, LostCastFrame(number))

    # receipts of this node --------------------------------------------------------------------------------------------
    def settle(self, now: float, ticket: int, number: int, topic: str, within: float) -> None:
        """Ask how far the agents of other nodes are with a broadcast of this node; CastSettled has the sums."""
        settling = Settling(ticket, now + within)
        self.own.settling[ticket] = settling
        left = max(0.0, within - min(_SHARE * within, _MOST))
        for node, agents in self.own.expected(number).items():
            if self._node.peers.reachable(node) and not self._node.out_link(node).full:
                settling.waiting[node] = agents
                self._node.send_counted(now, node, SettleFrame(ticket, number, topic, left))
            else:
                settling.give_up(node, agents)
        if not settling.waiting:
            self._settled(settling)

    def _settled(self, settling: Settling) -> None:
        if self.own.settling.pop(settling.ticket, None) is not None:
            self._node.act(settling.settled(tuple(sorted(map(self._node.peers.name, settling.silent)))))

    def answered(self, node: str, count: CountFrame) -> None:
        """Take the answer of a node."""
        settling = self.own.settling.get(count.id)
        if settling is not None and settling.answer(node, count):
            self._settled(settling)

    # of other nodes ---------------------------------------------------------------------------------------------------
    def reached(self, now: float, node: str, last: int) -> None:
        """Take from a heartbeat what the last broadcast of a node was."""
        casts = self.of.get(node)
        if casts is None:
            casts = self.of[node] = CastsOf(last)
        self._missing(node, casts.reached(last))
        self._look_again(now, node)

    def comes(self, now: float, node: str, frame: CastFrame) -> None:
        """Take a broadcast."""
        if self._takes(node, frame.number):
            coming = self._coming.get(node)
            if coming is None or not coming.holds(frame.sender):
                self._node.act(DeliverCast(node, frame))
            else:
                given_up = coming.hold(frame)
                if given_up is not None:
                    self._ends(now, node, given_up, None)
        self._look_again(now, node)

    def large_comes(self, now: float, node: str, frame: LargeCastFrame) -> None:
        """Take the news of a broadcast that comes in pieces."""
        if self._takes(node, frame.number):
            link = frame.links.get(self._node.id)
            if link is not None and link >= self._node.in_link(node):
                self._coming.setdefault(node, ComingCasts()).coming[frame.number] = (frame.sender, link)
            elif link is not None or self._node.own.listening(frame.topic):  # for agents that its node did not know of
                self._lose(node, frame.number)
        self._look_again(now, node)

    def whole(self, now: float, node: str, frame: CastFrame) -> None:
        """Take a broadcast all pieces of which have come."""
        coming = self._coming.get(node)
        for earlier in coming.before(frame.number, frame.sender) if coming is not None else ():
            self._ends(now, node, earlier, None)  # it came before this one on the link, or never does
        if coming is not None and frame.number in coming.coming:
            self._ends(now, node, frame.number, frame)
        elif self._takes(node, frame.number):  # the news of it was lost
            self._node.act(DeliverCast(node, frame))
            self._look_again(now, node)

    def does_not_come(self, now: float, node: str, number: int) -> None:
        """Note that a broadcast does not come whose pieces were on their way."""
        coming = self._coming.get(node)
        if coming is not None and number in coming.coming:
            self._ends(now, node, number, None)
        elif (casts := self.of.get(node)) is not None:
            self._missing(node, casts.reached(number))
            self._look_again(now, node)

    def link_begins(self, now: float, node: str, link: float = float("inf")) -> None:
        """Note that what was to come on earlier links of a node does not."""
        coming = self._coming.get(node)
        for number in [one for one, (_, on) in coming.coming.items() if on < link] if coming is not None else ():
            self._ends(now, node, number, None)

    def _takes(self, node: str, number: int) -> bool:
        casts = self.of.get(node)
        if casts is None:
            casts = self.of[node] = CastsOf(number - 1)
        taken, gap = casts.arrives(number)
        self._missing(node, gap)
        return taken

    def _ends(self, now: float, node: str, number: int, frame: CastFrame | None) -> None:
        """Deliver a large broadcast, or tell that it is missing; then deliver those behind it."""
        if frame is None:
            self._lose(node, number)
        else:
            self._node.act(DeliverCast(node, frame))
        for held in self._coming[node].end(number):
            self._node.act(DeliverCast(node, held))
        if not self._coming[node].coming:
            del self._coming[node]
        self._look_again(now, node)

    def _lose(self, node: str, number: int) -> None:
        self.of[node].lose(number)
        self._missing(node, (number, number))

    def _missing(self, node: str, gap: Range | None) -> None:
        if gap is not None:
            self._node.act(FramesMissing(node, *gap, True))

    # receipts of other nodes ------------------------------------------------------------------------------------------
    def settle_asked(self, now: float, node: str, frame: SettleFrame) -> None:
        """Count the agents here that have a broadcast of another node, as soon as it has come or is missing."""
        casts, coming = self.of.get(node), self._coming.get(node)
        if casts is None or frame.number > casts.last or (coming is not None and coming.waits(frame.number)):
            self._asked.append((now + frame.within, node, frame))
        elif casts.has(frame.number):
            self._node.act(CountCast(node, frame))
        else:
            self._count(now, node, frame, lost=True)

    def _count(self, now: float, node: str, frame: SettleFrame, lost: bool) -> None:
        agents = self._node.own.listening(frame.topic)
        late, gone = (0, agents) if lost else (agents, 0)
        self._node.send_counted(now, node, CountFrame(frame.id, agents, late, gone, 0, 0))

    def _look_again(self, now: float, node: str) -> None:
        if self._asked:
            asked, self._asked = self._asked, []
            for ends, other, frame in asked:
                if other != node:
                    self._asked.append((ends, other, frame))
                else:
                    left = SettleFrame(frame.id, frame.number, frame.topic, max(0.0, ends - now))
                    self.settle_asked(now, node, left)

    # time -------------------------------------------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """End the receipts whose time has run out."""
        for settling in [one for one in self.own.settling.values() if one.ends <= now]:
            for node, agents in dict(settling.waiting).items():
                settling.give_up(node, agents)
            self._settled(settling)
        over = [one for one in self._asked if one[0] <= now]
        self._asked = [one for one in self._asked if one[0] > now]
        for _, node, frame in over:
            self._count(now, node, frame, lost=False)

    def next_end(self, default: float) -> float:
        """Return when `tick` is needed at the latest."""
        ends = [one.ends for one in self.own.settling.values()] + [ends for ends, _, _ in self._asked]
        return min(ends, default=default)

    def cut(self, now: float, node: str) -> None:
        """End what waits for a node that is lost, or left."""
        self._asked = [one for one in self._asked if one[1] != node]
        self.link_begins(now, node)
        for settling in list(self.own.settling.values()):
            if node in settling.waiting:
                settling.give_up(node, settling.waiting[node])
                if not settling.waiting:
                    self._settled(settling)
