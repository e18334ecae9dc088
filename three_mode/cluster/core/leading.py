"""Leading: the plan of a node that leads is copied to those that stand by, of which one takes over once it is lost. No
I/O, no clock.

    stands by --a node that leads is lost, and this one is the next--> leads
              <--another node leads its agents, by a later term-------

Who takes over has a later term than all that it knew. Its agents stay where they are; those of the lost node wait in
the plan for another one. A node that was only away steps down once it hears of the later term: what it has begun since
goes into the plan of the other.
"""

from collections.abc import Collection

import msgspec

from three_mode.cluster.core.actions import CallAnswered, CallFailed, PeerChanged
from three_mode.cluster.core.frames import Lead
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import ORDER, Answer, CopyOrder, Failure, LeadOrder, encode_order
from three_mode.cluster.core.placing import Placing
from three_mode.cluster.core.plan_log import PlanCopy, encode_change

_COPY_WITHIN = 5.0
_DONE = encode_order(None)
BEHIND, LED = "behind", "led"  # codes: a copy does not follow what is known; another node leads these agents


class LeadTaken(msgspec.Struct, frozen=True):
    """This node leads agents that another one led."""

    node: str
    name: str
    agents: int
    """Number of them."""


class LeadLost(msgspec.Struct, frozen=True):
    """Another node leads the agents that this one led."""

    node: str
    here: dict[str, int]
    """Agents here -> number of the order by which they are: they are as if that node had placed them."""


LeadingEvent = LeadTaken | LeadLost


class _Copying(msgspec.Struct, frozen=True):
    """A copy is on its way."""

    node: str
    version: int
    final: bool


class Leading:
    """The part of one node in leading. `take` hands over what has happened."""

    def __init__(self, core: ClusterNode, placing: Placing, stands_by: bool = False) -> None:
        self._core, self._placing = core, placing
        self.copies: dict[str, PlanCopy] = {}
        """Node that leads -> copy of its plan."""
        self._has: dict[str, int] = {}  # node that stands by -> version of this plan that it has
        self._calls: dict[int, _Copying] = {}
        self._final: CopyOrder | None = None  # for the node that leads in place of this one
        self._taken: set[str] = set()  # agents that were taken over: what has ended since does not come back by a copy
        self._missed: dict[str, float] = {}  # node that leads and is lost -> since when
        self._events: list[LeadingEvent] = []
        if stands_by:
            core.set_lead(Lead(True))

    @property
    def passive(self) -> bool:
        """Whether this node stands by, and leads nobody."""
        return self._core.leads.own.stands_by and not self._core.leads.own.term

    def take(self) -> list[LeadingEvent]:
        """Hand over what has happened."""
        events, self._events = self._events, []
        return events

    # what is heard of others ------------------------------------------------------------------------------------------
    def peer_changed(self, change: PeerChanged) -> None:
        """Note that another node was lost, left or is back. One that left has ended its agents, or has no more."""
        if change.state in ("lost", "left"):
            self._has.pop(change.node, None)
        if change.state == "left" and self.copies.pop(change.node, None) is not None:
            self._follow()

    def said(self, now: float) -> None:
        """Take what another node says of its part: the one that leads by the earlier term steps down."""
        rival = self._core.leads.rival()
        if rival:
            self._step_down(rival)
        self.copy(now)

    def _step_down(self, rival: str) -> None:
        core, plan = self._core, self._placing.plan
        here = {name: agent.last for name, agent in plan.agents.items() if agent.node == core.id}
        self._final = self._order(0, True)
        self._has.clear()
        self._taken.clear()
        plan.clear()
        core.set_lead(msgspec.structs.replace(core.leads.own, stands_by=True, term=0, took=()))
        self._events.append(LeadLost(rival, here))

    # at a node that stands by -----------------------------------------------------------------------------------------
    def copy_came(self, node: str, order: CopyOrder) -> Answer:
        """Take a copy of another node's plan; return the answer. BadOrder where it is none."""
        leads = self._core.leads
        if order.final:
            return self._take_rest(node, order)
        if not leads.own.stands_by or leads.leader_of(node) not in ("", node):
            return Failure(LED, "another node leads these agents, or this one does not stand by")
        copy = self.copies.get(node) or PlanCopy()
        if not copy.take(order):
            return Failure(BEHIND, "this copy does not follow what is known")
        self._core.own.clock = max(self._core.own.clock, order.number)
        self.copies[node] = copy
        for before in order.took:  # their agents are in this one
            self.copies.pop(before, None)
        self._follow()
        return _DONE

    def _follow(self) -> None:
        lead, reachable = self._core.leads.own, self._core.peers.reachable
        follows = tuple((node, 0 if reachable(node) else copy.version) for node, copy in sorted(self.copies.items()))
        if lead.follows != follows:
            self._core.set_lead(msgspec.structs.replace(lead, follows=follows))

    def _take_rest(self, node: str, order: CopyOrder) -> Answer:
        """Take what a node that has stepped down for this one led until then."""
        own, copy = self._core.leads.own, PlanCopy()
        if not own.term or not copy.take(order):
            return Failure(LED, "this node leads nobody")
        self._core.own.clock = max(self._core.own.clock, order.number)
        self._lead(node, copy, own.term, self._taken)
        return _DONE

    def asked_to_lead(self, node: str, order: LeadOrder) -> Answer:
        """Take over from a node that asks for it; return the answer."""
        copy = self.copies.get(node)
        if copy is None or copy.version != order.version:
            return Failure(BEHIND, f"node {self._core.name} has no copy of this version of the plan")
        self._take_over(node, copy)
        return _DONE

    def tick(self, now: float, hears_itself: bool) -> None:
        """Take over from nodes that are lost, if this one is the next; send what copies are due."""
        core = self._core
        self.said(now)
        self._follow()
        lost = [node for node in self.copies if not core.peers.reachable(node)] if hears_itself else []
        self._missed = {node: self._missed.get(node, now) for node in lost}
        for node in lost:
            copy, waits = self.copies.get(node), now < self._missed[node] + core.timing.suspected_after
            if copy is not None and not core.leads.leader_of(node) and core.leads.is_next(node, waits):
                self._take_over(node, copy)

    def _take_over(self, node: str, copy: PlanCopy) -> None:
        self._lead(node, copy, self._core.leads.next_term(copy.term))
        rest, self._final = self._final, None
        if rest is not None:  # this one led before, and nobody has taken what it led last
            own = PlanCopy()
            own.take(rest)
            self._lead(self._core.id, own, self._core.leads.own.term)

    def _lead(self, node: str, copy: PlanCopy, term: int, without: Collection[str] = ()) -> None:
        """Lead the agents of a copy, besides those that are led already, and those in `without`."""
        core, placing = self._core, self._placing
        for before in (node, *copy.took):
            self.copies.pop(before, None)
        self._follow()
        lead = core.leads.own
        took = dict.fromkeys((*lead.took, *copy.took, node))
        took.pop(core.id, None)
        core.set_lead(msgspec.structs.replace(lead, term=term, took=tuple(took)))
        taken = placing.plan.take_over(copy, without)
        self._taken.update(copy.agents)
        placing.look_for_nodes({node: copy.name})
        if taken or lead.term != term:
            self._events.append(LeadTaken(node, copy.name, len(taken)))

    # at a node that leads ---------------------------------------------------------------------------------------------
    def behind(self, version: int) -> list[str]:
        """Return the nodes that stand by, and have no copy of a version of the plan yet."""
        if not self._core.leads.own.term:
            return []
        return [node for node in self._core.leads.standbys() if self._has.get(node, -1) < version]

    def next_in_line(self) -> str:
        """Return the node that takes over from this one; empty: none, or its copy is not the latest."""
        version = self._placing.plan.log.version
        found = self._core.leads.standbys(self._core.id)
        return found[0] if found and self._has.get(found[0]) == version else ""

    def copy(self, now: float) -> None:
        """Send what has changed to the nodes that stand by. A node that has placed agents leads."""
        core, log = self._core, self._placing.plan.log
        if self._placing.plan.agents and not core.leads.own.term and not self.passive:
            core.set_lead(msgspec.structs.replace(core.leads.own, term=1))
        under_way = {one.node for one in self._calls.values()}
        if self._final is not None:
            leader = core.leads.leader_of(core.id)
            if leader and leader not in under_way and core.peers.reachable(leader):
                self._ask(now, leader, self._final)
            return
        if not core.leads.own.term:
            log.forget(log.version)
            return
        standbys = core.leads.standbys()
        for node in standbys:
            if node not in under_way and self._has.get(node) != log.version:
                self._ask(now, node, self._order(self._has.get(node, 0)))
        log.forget(min((self._has.get(node, log.version) for node in standbys), default=log.version))

    def _order(self, since: int, final: bool = False) -> CopyOrder:
        core, plan = self._core, self._placing.plan
        lead, (base, change) = core.leads.own, plan.change(since)
        raw = encode_change(change)
        return CopyOrder(core.order_number(), core.name, lead.term, lead.took, base, plan.log.version, raw, final)

    def _ask(self, now: float, node: str, order: CopyOrder) -> None:
        call = self._core.ask(now, node, "", ORDER, encode_order(order), _COPY_WITHIN)
        self._calls[call] = _Copying(node, order.version, order.final)

    def result(self, now: float, action: CallAnswered | CallFailed) -> bool:
        """Take the end of a call; return whether it was one of a copy."""
        copying = self._calls.pop(action.id, None)
        if copying is None:
            return False
        if isinstance(action, CallFailed):
            self._has.pop(copying.node, None)  # it gets all of it, at the next tick
        elif copying.final:
            self._final = None
        elif self._final is None:
            self._has[copying.node] = copying.version
            self.copy(now)
        return True
