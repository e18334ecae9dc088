"""One node's state: it takes (now, packet) and the verbs of its agents, and gives actions. No I/O, no clock, no chance.

Each verb and each packet may add actions; `take` hands them over. `tick` does what time alone causes, and has to be
called at `next_tick` at the latest.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable

from msgspec import structs

from three_mode.cluster.core.actions import (
    Action,
    DeliverTell,
    EndAgents,
    FramesMissing,
    GrantParts,
    LeadSaid,
    PeerChanged,
    SendPacket,
    TellLost,
)
from three_mode.cluster.core.calling import Calling
from three_mode.cluster.core.casting import Casting
from three_mode.cluster.core.frames import (
    VERSION,
    AckFrame,
    AnswerFrame,
    AnyFrame,
    AskFrame,
    CancelFrame,
    CastFrame,
    Claim,
    CountFrame,
    CreditFrame,
    DropFrame,
    EndFrame,
    FailFrame,
    HeartbeatFrame,
    LargeCastFrame,
    Lead,
    LeaveFrame,
    LostCastFrame,
    NamesFrame,
    NamesPartFrame,
    NamesWantedFrame,
    Packet,
    PartFrame,
    PieceFrame,
    SealFrame,
    SettleFrame,
    Surroundings,
    TellFrame,
    TipFrame,
)
from three_mode.cluster.core.large import LargeFrames
from three_mode.cluster.core.leads import Leads
from three_mode.cluster.core.links import ACK_EVERY, FrameNote, LinkIn, LinkOut, Note, PieceNote, Range
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import NodePeer, Peers
from three_mode.cluster.core.shown import ShownNames
from three_mode.cluster.core.timing import NodeTiming

_FORGOTTEN = 1024  # nodes that are forgotten whose frames are counted on if they come back
_PIECES = (PieceFrame, SealFrame, DropFrame)


class ClusterNode:
    """State of one node. `id` is that of this start of it, and never used again; `name` is for people."""

    def __init__(
        self,
        id: str,  # noqa: A002
        name: str,
        now: float,
        timing: NodeTiming | None = None,
        kind: str = "node",
    ) -> None:
        self.id, self.name, self.timing, self.kind = id, name, timing or NodeTiming(), kind
        self.peers = Peers(self.timing)
        self.own = OwnNames()
        self.names: dict[str, NamesOf] = {}
        self._out: dict[str, LinkOut] = {}
        self._in: dict[str, LinkIn] = {}
        self._in_before: OrderedDict[str, LinkIn] = OrderedDict()  # of nodes that are forgotten
        self._first_link = 1  # number of a new link: later than those to nodes that are forgotten, which may come back
        self.large, self.casting, self.calling = LargeFrames(self._number), Casting(self), Calling(self)
        calling = self.calling  # its verbs are the node's own, without a step between
        self.ask, self.tell, self.cancel, self.grant = calling.ask, calling.tell, calling.cancel, calling.grant
        self.answer, self.part, self.end, self.fail = calling.answer, calling.part, calling.end, calling.fail
        self._shown = ShownNames(self.own, self.names, self.peers)
        self.leads = Leads(id, name, self.names, self.peers)
        self._away: deque[tuple[float, tuple[Claim, ...]]] = deque()
        self._next_heartbeat = now
        self._next_silence = float("inf")
        self._actions: list[Action] = []

    # time -------------------------------------------------------------------------------------------------------------
    def take(self) -> list[Action]:
        """Hand over the actions, with the changes of this node's names."""
        for frame in self.own.changes():
            self.send_all(frame)
        actions, self._actions = self._actions, []
        return actions

    def tick(self, now: float) -> None:
        """Do what is due. A tick that is late itself is no silence of the others."""
        late = now - self._next_heartbeat
        if late > self.timing.heartbeat:
            self.peers.forgive(now, late)
        for change in self.peers.tick(now):
            self._peer_changed(now, change)
        while self._away and self._away[0][0] <= now:
            _, claims = self._away.popleft()
            gone = [claim.name for claim in claims if self.own.claims.get(claim.name) == claim]
            self.release(gone)
        self.calling.tick(now)
        self.casting.tick(now)
        pause = self.timing.heartbeat
        for node, link in self._out.items():
            if (link.asks(now, pause) or self.large.stalled(now, node, pause)) and self.peers.reachable(node):
                self._send(node, link.tip(now))
        if now >= self._next_heartbeat:
            self._heartbeat(now)
        self._next_silence = self.peers.next_silence  # signs of life since then only put it off

    @property
    def next_tick(self) -> float:
        """When `tick` has to be called at the latest."""
        casts = self.casting.next_end(self._next_heartbeat)
        return min(self._next_heartbeat, self._next_silence, self.calling.out.next_end, casts)

    def leave(self, now: float) -> None:
        """Tell the others that this node leaves in order."""
        self.send_all(LeaveFrame())

    def _heartbeat(self, now: float) -> None:
        self._next_heartbeat = now + self.timing.heartbeat
        self._actions += map(self._to_all, self.own.changes())  # the heartbeat says their version
        self.send_all(HeartbeatFrame(self.name, self.own.version, self.casting.own.last, self.kind))

    # names ------------------------------------------------------------------------------------------------------------
    def claim(self, names: Iterable[str]) -> None:
        """Say that these agents have begun here."""
        names = list(names)
        if names:
            self.own.claim(names)
            self._show(names)

    def release(self, names: Iterable[str]) -> None:
        """Say that these agents have ended here."""
        names = [name for name in names if name in self.own.claims]
        self.own.release(names)
        self._show(names)

    def lose(self, now: float, names: Iterable[str]) -> None:
        """Say that the process of these agents ended, and that they may come back here."""
        names = [name for name in names if name in self.own.claims]
        self.own.away(names)
        if names:
            self._away.append((now + self.timing.away, tuple(self.own.claims[name] for name in names)))

    def surround(self, around: Surroundings) -> None:
        """Set the roles here, the patterns of each group, and what this node offers."""
        self.own.surround(structs.replace(around, lead=self.leads.own))

    def set_lead(self, lead: Lead) -> None:
        """Set the part of this node in leading."""
        self.leads.own = lead
        self.leads.heard(self.id, lead.took)
        self.surround(self.own.around)

    def owner(self, name: str) -> str | None:
        """Return the node that has an agent which is not here."""
        return self._shown.owners.find(name)

    def reserve(self, names: Iterable[str], after: int) -> None:
        """Claim names for agents that are about to begin here, above all claims up to `after`: those elsewhere are
        shown here no longer, and end once the ones here have begun."""
        names = list(names)
        self.own.reserve(names, after)
        self._show(names)

    def place(self, names: Iterable[str]) -> int:
        """Give agents that are about to be made here their rank among all of their names, and return its number."""
        return self.own.place(names)

    def order_number(self) -> int:
        """Return the number of a new order: above those of all claims and orders that were seen here."""
        self.own.clock += 1
        return self.own.clock

    def _show(self, names: Iterable[str]) -> None:
        self._actions += self._shown.agents(names)

    def _show_surroundings(self, node: str) -> None:
        self._actions += self._shown.surroundings(node)

    def _claimed(self, node: str, claims: Iterable[Claim], names: Iterable[str]) -> None:
        """Take claims of another node: a later incarnation ends the one here."""
        claims = list(claims)
        self.own.see(claims)
        beaten = self.own.beaten_by(node, claims, self.id)
        if beaten:
            self.own.release(beaten)
            self._actions.append(EndAgents(tuple(beaten), node))
        self._actions += self._shown.changed(node, names)
        self._show(beaten)

    def _names_changed(self, now: float, node: str, frame: NamesFrame) -> None:
        view = self.view(node)
        before = view.around.lead
        if frame.version > view.version and view.change(frame):
            self._claimed(node, frame.claims, [*frame.removed, *(claim.name for claim in frame.claims)])
            self._show_surroundings(node)
            self._hear_lead(node, before)
        else:
            self._want_names(now, node, frame.version)

    def _names_part(self, node: str, frame: NamesPartFrame) -> None:
        view = self.view(node)
        before, lead = set(view.claims), view.around.lead
        if view.part(frame):
            self._claimed(node, view.claims.values(), before.union(view.claims))
            self._show_surroundings(node)
            self._hear_lead(node, lead)

    def _hear_lead(self, node: str, before: Lead) -> None:
        lead = self.view(node).around.lead
        if lead != before:
            self.leads.heard(node, lead.took)
            self._actions.append(LeadSaid(node))

    def _want_names(self, now: float, node: str, version: int) -> None:
        view = self.view(node)
        view.latest = max(view.latest, version)
        if version > view.version and now - view.asked >= self.timing.heartbeat:
            view.asked = now
            self._send(node, NamesWantedFrame())

    def view(self, node: str) -> NamesOf:
        """Return the names of another node, as far as they are known here."""
        view = self.names.get(node)
        if view is None:
            view = self.names[node] = NamesOf()
        return view

    # other nodes ------------------------------------------------------------------------------------------------------
    def _peer_changed(self, now: float, change: PeerChanged) -> None:
        node = change.node
        self._actions.append(change)
        if change.state in ("joined", "back"):
            self._next_heartbeat = now  # so that it hears this node at once
            view = self.view(node)
            self._claimed(node, view.claims.values(), view.claims)
            self._show_surroundings(node)
            self._hear_lead(node, Lead())
        elif change.state in ("lost", "left"):
            self._cut(now, node, f"node {change.name} {'left' if change.state == 'left' else 'is lost'}")
            self._show(self.view(node).claims)
            if change.state == "left":
                self.names.pop(node, None)
            self._show_surroundings(node)
        elif change.state == "forgotten":
            self._forget(node)
            self._show_surroundings(node)

    def _forget(self, node: str) -> None:
        """Forget a node, but not how far its frames came: one that was stopped comes back, and remembers this one."""
        sent, came = self._out.pop(node, None), self._in.pop(node, None)
        if sent is not None:
            self._first_link = max(self._first_link, sent.link + 1)
        if came is not None:
            self._in_before[node] = came
            if len(self._in_before) > _FORGOTTEN:
                self._in_before.popitem(last=False)
        for table in (self.names, self.casting.of, self._shown.roles):
            table.pop(node, None)

    def _cut(self, now: float, node: str, why: str) -> None:
        """End all that waits for a node, or runs for it."""
        unsent, unsure = self.large.cut(node)
        self._lose_tells(unsent, f"{why} before it was sent")
        self._lose_tells([*unsure, *self.out_link(node).cut()], f"{why} before it said what arrived")
        self.calling.fail_all(node, why)
        self.calling.cancel_all_served(now, node, why)
        self.casting.cut(now, node)
        self.large.send(now)  # what was under way to that node was in the way of others

    def _lose_tells(self, notes: Iterable[Note], why: str) -> None:
        for note in notes:
            if isinstance(note, FrameNote) and note.kind == "tell":
                self._actions.append(TellLost(note.to, note.topic, note.sender, why))

    # packets ----------------------------------------------------------------------------------------------------------
    def handle(self, now: float, packet: Packet) -> None:
        """Take a packet."""
        node, frame = packet.sender, packet.frame
        if node == self.id or packet.to not in ("", self.id) or self.peers.knows_as_left(node):
            return
        if type(frame) is LeaveFrame:
            left = self.peers.leave(now, node)
            if left is not None:
                self._peer_changed(now, left)
            return
        said = (frame.name, frame.kind) if type(frame) is HeartbeatFrame else ()
        change = self.peers.hear(now, node, *said)
        if change is not None:
            self._peer_changed(now, change)
        if not packet.to:
            self._handle_for_all(now, node, frame)
            return
        link = self._in.get(node)
        if link is None:
            link = self._in[node] = self._in_before.pop(node, LinkIn())
        if packet.link < link.link:
            return  # of before the link was cut
        if packet.link > link.link:
            self.large.begin_anew(node)
            self.casting.link_begins(now, node, packet.link)
        if link.follows(packet.link):
            why = f"node {self.peers.name(node)} lost sight of this one"
            for id_ in self.calling.fail_all(node, why):
                self.send_counted(now, node, CancelFrame(id_))
            self.calling.cancel_all_served(now, node, why)
        if packet.number:
            taken, gap = link.takes(packet.number)
            self._missing(node, gap)
            if taken:
                self._handle_counted(now, node, frame)
            if link.owed >= ACK_EVERY or (link.owed and type(frame) in _PIECES):
                self._send(node, link.ack())
        else:
            self._handle_uncounted(now, node, frame, link)

    def _handle_for_all(self, now: float, node: str, frame: AnyFrame) -> None:
        if type(frame) is HeartbeatFrame:
            self.casting.reached(now, node, frame.casts)
            self._want_names(now, node, frame.names)
        elif type(frame) is CastFrame:
            self.casting.comes(now, node, frame)
        elif type(frame) is LargeCastFrame:
            self.casting.large_comes(now, node, frame)
        elif type(frame) is NamesFrame:
            self._names_changed(now, node, frame)

    def _handle_uncounted(self, now: float, node: str, frame: AnyFrame, link: LinkIn) -> None:
        if type(frame) is TipFrame:
            self._missing(node, link.tip(frame))
            self._send(node, link.ack())
        elif type(frame) is AckFrame:
            out = self.out_link(node)
            floor, missing = out.floor, out.acked(frame)
            self.large.arrived(now, node, out.arrived)
            for note in missing:
                self._repair(now, node, note)
            self.large.send(now)
            if frame.missing and out.floor > floor:
                self._send(node, out.tip(now))  # so that the other end need not keep them
        elif type(frame) is NamesWantedFrame:
            for part in self.own.all():
                self._send(node, part)
        elif type(frame) is NamesPartFrame:
            self._names_part(node, frame)

    def _handle_counted(self, now: float, node: str, frame: AnyFrame) -> None:
        match frame:
            case AskFrame():
                self.calling.asked(now, node, frame)
            case AnswerFrame() | PartFrame() | EndFrame() | FailFrame():
                self.calling.answered(now, node, frame)
            case TellFrame():
                if self.calling.acts(frame.to, frame.epoch):
                    self._actions.append(DeliverTell(node, frame))
                else:  # it counts as missing, which its sender is told
                    self._refuse(node)
            case CancelFrame():
                self.calling.cancelled(now, node, frame.id)
            case CreditFrame():
                if self.calling.is_open(node, frame.id):
                    self._actions.append(GrantParts(node, frame.id, frame.count))
            case SettleFrame():
                self.casting.settle_asked(now, node, frame)
            case CountFrame():
                self.casting.answered(node, frame)
            case PieceFrame() | SealFrame() | DropFrame():
                self._piece(now, node, frame)
            case LostCastFrame():
                self.casting.does_not_come(now, node, frame.number)

    def _piece(self, now: float, node: str, frame: PieceFrame | SealFrame | DropFrame) -> None:
        whole = self.large.comes(node, frame)
        if isinstance(whole, CastFrame):
            self.casting.whole(now, node, whole)
        elif whole is not None:
            self._handle_counted(now, node, whole)
        elif isinstance(frame, SealFrame):  # a piece of it is missing, or was not taken, which its sender is told
            self._refuse(node)

    def _refuse(self, node: str) -> None:
        link = self._in[node]
        link.refuse()
        self._send(node, link.ack())

    def _missing(self, node: str, gap: Range | None) -> None:
        if gap is not None:
            self._actions.append(FramesMissing(node, *gap, False))

    def _repair(self, now: float, node: str, note: Note) -> None:
        """Deal with a frame of this node that is missing at the other: end what waits for it, or send it again."""
        why = f"it was lost on its way to node {self.peers.name(node)}"
        if isinstance(note, PieceNote):
            large = self.large.missing(now, node, note)
            if large is not None:
                self._repair(now, node, large.note)
        elif not isinstance(note, FrameNote):
            self.send_counted(now, node, note)  # type: ignore[arg-type]  # frames that are sent again
        elif note.kind == "cast":
            self.casting.lost(now, node, note.id)
        elif note.kind == "tell":
            why = f"it did not reach {note.to} at node {self.peers.name(node)}"
            self._actions.append(TellLost(note.to, note.topic, note.sender, why))
        elif note.kind == "ask":
            self.calling.call_lost(note.id, why)
        else:
            self.calling.answer_lost(now, node, note.id)

    # broadcasts -------------------------------------------------------------------------------------------------------
    def cast(self, now: float, topic: str, payload: bytes, *, sender: str = "", trace: str = "") -> int:
        """Send a broadcast to all nodes; return its number, 0 where no agent of another node listens."""
        return self.casting.cast(now, topic, payload, sender, trace)

    def settle(self, now: float, ticket: int, number: int, topic: str, within: float) -> None:
        """Ask how far the agents of other nodes are with a broadcast of this node; CastSettled has the sums."""
        self.casting.settle(now, ticket, number, topic, within)

    def counted(self, now: float, node: str, count: CountFrame) -> None:
        """Answer how far the agents here are with a broadcast of another node."""
        if self.peers.reachable(node):
            self.send_counted(now, node, count)

    # sending ----------------------------------------------------------------------------------------------------------
    def act(self, action: Action) -> None:
        """Add an action."""
        self._actions.append(action)

    def in_link(self, node: str) -> int:
        """Return the number of the link on which frames of a node come."""
        link = self._in.get(node)
        return link.link if link is not None else 0

    def out_link(self, node: str) -> LinkOut:
        """Return the sending end of the link to a node."""
        link = self._out.get(node)
        if link is None:
            link = self._out[node] = LinkOut(self._first_link)
        return link

    def send_counted(self, now: float, node: str, frame: AnyFrame, note: Note | None = None) -> None:
        """Send a frame that is counted; a large one in pieces."""
        if not self.peers.reachable(node):
            return  # all that waited for the node has ended
        if not self.large.takes(now, node, frame, note):
            self._number(now, node, frame, note)

    def _number(self, now: float, node: str, frame: AnyFrame, note: Note | None) -> None:
        """Send a frame on its link."""
        link = self.out_link(node)
        number = link.number(now, frame if note is None else note)
        self._actions.append(SendPacket(Packet(VERSION, self.id, node, link.link, number, frame)))

    def _send(self, node: str, frame: AnyFrame) -> None:
        self._actions.append(SendPacket(Packet(VERSION, self.id, node, self.out_link(node).link, 0, frame)))

    def _to_all(self, frame: AnyFrame) -> Action:
        return SendPacket(Packet(VERSION, self.id, "", 0, 0, frame))

    def send_all(self, frame: AnyFrame) -> None:
        """Send a frame to all nodes."""
        self._actions.append(self._to_all(frame))

    @property
    def knows_all_names(self) -> bool:
        """Whether this node has heard of another one, and knows all names of those that it has heard of."""
        views = [self.view(peer.id) for peer in self.peers.all() if peer.kind == "node"]
        return bool(views) and all(view.version >= view.latest for view in views)

    @property
    def waiting(self) -> int:
        """Calls of this node that wait."""
        return len(self.calling.out.waiting)

    def nodes(self) -> list[NodePeer]:
        """Return the other nodes that are known."""
        return self.peers.all()
