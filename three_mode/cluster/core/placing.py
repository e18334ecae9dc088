"""Placing: a node gives the orders of its plan to the nodes of its cluster, until each is done or its node is lost.
No I/O, no clock.

An order whose answer was lost on the way, or is late, is given again under its number. Moves wait while this node
cannot hear itself over the network: then the silence of the others says nothing about them.
"""

from collections.abc import Iterable, Mapping

import msgspec

from three_mode.cluster.core.actions import CallAnswered, CallFailed, PeerChanged
from three_mode.cluster.core.calling import DEADLINE, PEER_LOST
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import (
    ORDER,
    AgentsOrder,
    BadOrder,
    Failure,
    Order,
    PlaceOrder,
    encode_order,
    read_placed,
)
from three_mode.cluster.core.peers import HERE
from three_mode.cluster.core.plan import PlacementPlan
from three_mode.cluster.core.planned import Move, PlacingNode

MOVE_WITHIN = 30.0  # seconds after which an order that moves agents is given again to a node that does not answer
_BURY_WITHIN = 10.0
_AT_ONCE = 10_000  # agents of one order


class OrderDone(msgspec.Struct, frozen=True):
    """An order of this node has its answer, or failed."""

    order: Order
    node: str
    answer: bytes | Failure


class OrderHere(msgspec.Struct, frozen=True):
    """Do this order at this node, and say so with `done_here`."""

    order: PlaceOrder
    within: float


class Moved(msgspec.Struct, frozen=True):
    """Agents of a lost node run at another one."""

    agents: tuple[str, ...]
    origin: str
    """Name of the lost node."""
    node: str
    """Id of the other."""


class Stranded(msgspec.Struct, frozen=True):
    """Agents of a group wait for a node that may run them."""

    group: str
    agents: tuple[str, ...]


class CannotRun(msgspec.Struct, frozen=True):
    """A node says that it cannot run a group."""

    group: str
    node: str
    why: str


class GoneForGood(msgspec.Struct, frozen=True):
    """Agents are gone for good with their node: their policy says so."""

    agents: tuple[str, ...]
    node: str
    """Name of the node."""


PlacingEvent = OrderDone | OrderHere | Moved | Stranded | CannotRun | GoneForGood


class _Given(msgspec.Struct):
    """An order that is being done at a node."""

    order: Order
    node: str
    ends: float
    moves: str | None = None
    """Name of the lost node whose agents it moves; None: it is no move."""


class Placing:
    """The orders of one node. `take` hands over what has happened."""

    def __init__(self, core: ClusterNode) -> None:
        self._core, self.plan = core, PlacementPlan(core.id)
        self._calls: dict[int, _Given] = {}
        self._here: dict[int, _Given] = {}
        self._again: list[tuple[float, _Given]] = []
        self._ending: set[str] = set()  # nodes that have the order to end what is buried there
        self._events: list[PlacingEvent] = []

    def take(self) -> list[PlacingEvent]:
        """Hand over what has happened."""
        events, self._events = self._events, []
        return events

    # nodes ------------------------------------------------------------------------------------------------------------
    def nodes(self, here: PlacingNode) -> list[PlacingNode]:
        """Return the nodes that may be asked to run agents, this one first."""
        found = [here]
        for peer in self._core.nodes():
            view = self._core.names.get(peer.id)
            if peer.state == HERE and view is not None and view.around.offer.allow:
                found.append(PlacingNode(peer.id, peer.name, view.around.offer, len(view.claims)))
        return found

    def owner(self, name: str) -> str | None:
        """Return the node that an agent runs at, as far as the names say."""
        own = self._core.own.claims.get(name)
        if own is not None:
            return None if own.away else self._core.id
        node = self._core.owner(name)
        claim = self._core.names[node].claims.get(name) if node is not None else None
        return node if claim is not None and not claim.away else None

    def shown(self, names: Iterable[str]) -> None:
        """Note that agents are shown at a node, which may be another one than they were placed at."""
        for name in names:
            if name in self.plan.agents and (node := self.owner(name)) is not None:
                self.plan.shown(node, [name])

    def peer_changed(self, change: PeerChanged) -> None:
        """Note that another node joined, was lost, left or is forgotten."""
        if change.state in ("lost", "left"):
            self.plan.lost(change.node, change.name)
            self._ending.discard(change.node)
        if change.state in ("left", "forgotten"):
            gone = self.plan.forgotten(change.node)
            if gone:
                self._events.append(GoneForGood(tuple(gone), change.name))

    def look_for_nodes(self, names: Mapping[str, str]) -> None:
        """Note which nodes of the plan, which was another one's, cannot be reached from here. `names`: of some that may
        be forgotten here."""
        peers, plan = self._core.peers, self.plan
        nodes = {agent.node for agent in plan.agents.values()} - {"", self._core.id}
        for node in nodes:
            if not peers.reachable(node):
                name = names.get(node) or peers.name(node)
                plan.lost(node, name)
                gone = plan.forgotten(node) if not peers.knows(node) else []
                if gone:
                    self._events.append(GoneForGood(tuple(gone), name))

    # orders -----------------------------------------------------------------------------------------------------------
    def give(self, now: float, node: str, order: Order, within: float, moves: str | None = None) -> None:
        """Give an order to a node, or to this one. It ends once, with OrderDone."""
        given = _Given(order, node, now + within, moves)
        if node != self._core.id:
            self._ask(now, given)
        elif isinstance(order, PlaceOrder):
            self._here[order.number] = given
            self._events.append(OrderHere(order, within))

    def _ask(self, now: float, given: _Given) -> None:
        within, order = max(0.001, given.ends - now), given.order
        if isinstance(order, PlaceOrder):
            order = msgspec.structs.replace(order, took=self._core.leads.own.took)
        self._calls[self._core.ask(now, given.node, "", ORDER, encode_order(order), within)] = given

    def result(self, now: float, action: CallAnswered | CallFailed) -> bool:
        """Take the end of a call; return whether it was one of an order."""
        given = self._calls.pop(action.id, None)
        if given is None:
            return False
        if isinstance(action, CallAnswered):
            self._end(now, given, action.payload)
        elif action.code in (PEER_LOST, DEADLINE) and self._core.peers.reachable(given.node) and self._wanted(given):
            if given.moves is not None and now >= given.ends:
                given.ends = now + MOVE_WITHIN
            if now < given.ends:
                self._again.append((now + self._core.timing.heartbeat, given))
            else:
                self._end(now, given, Failure(action.code, action.text, action.detail))
        else:
            self._end(now, given, Failure(action.code, action.text, action.detail))
        return True

    def done_here(self, now: float, number: int, answer: bytes | Failure) -> None:
        """Take the answer to an OrderHere."""
        given = self._here.pop(number, None)
        if given is not None:
            self._end(now, given, answer)

    def _wanted(self, given: _Given) -> bool:
        """Return whether the plan still waits for an order. A node that was lost meanwhile has been given up."""
        if not isinstance(given.order, PlaceOrder):
            return True
        return any(agent.order == given.order.number for agent in self.plan.agents.values())

    def _end(self, now: float, given: _Given, answer: bytes | Failure) -> None:
        order = given.order
        if isinstance(order, PlaceOrder):
            self._placed(now, given, order, answer)
        elif isinstance(order, AgentsOrder) and order.up_to:
            self._ending.discard(given.node)
            if isinstance(answer, bytes):
                self.plan.unbury(given.node, order.names, order.up_to)
        self._events.append(OrderDone(order, given.node, answer))

    def _placed(self, now: float, given: _Given, order: PlaceOrder, answer: bytes | Failure) -> None:
        try:
            cannot = read_placed(answer).cannot if isinstance(answer, bytes) else answer.text
        except BadOrder as error:
            cannot = error.message
        if isinstance(answer, bytes) and cannot:
            self.plan.bar(order.group, given.node)
            self._events.append(CannotRun(order.group, given.node, cannot))
        if cannot:
            self.plan.failed(now, order.number)
            return
        names = self.plan.done(order.number, self.owner)
        if names and given.moves is not None:
            self._events.append(Moved(tuple(names), given.moves, given.node))

    # time -------------------------------------------------------------------------------------------------------------
    def tick(self, now: float, here: PlacingNode, hears_itself: bool) -> None:
        """Give what orders are due."""
        again, self._again = self._again, []
        for when, given in again:
            if when > now:
                self._again.append((when, given))
            elif self._core.peers.reachable(given.node) and self._wanted(given):
                self._ask(now, given)
            else:
                self._end(now, given, Failure(PEER_LOST, f"node {self._core.peers.name(given.node)} is asked no more"))
        if hears_itself:
            moves, stranded = self.plan.due(now, self.nodes(here), self.owner)
            for move in moves:
                self._move(now, move)
            for group in stranded:
                names = (name for name, agent in self.plan.agents.items() if agent.group == group and not agent.node)
                self._events.append(Stranded(group, tuple(names)))
        for node in [node for node in self.plan.graveyards if self._core.peers.reachable(node)]:
            if node not in self._ending:
                self._ending.add(node)
                self._end_buried(now, node)

    def _move(self, now: float, move: Move) -> None:
        for start in range(0, len(move.numbers), _AT_ONCE):
            numbers, number = move.numbers[start : start + _AT_ONCE], self._core.order_number()
            template = self.plan.groups[move.group].order
            order = msgspec.structs.replace(template, number=number, numbers=numbers, back=True)
            self.plan.ordered(names_of(order), move.node, number)
            self.give(now, move.node, order, MOVE_WITHIN, move.origin)

    def _end_buried(self, now: float, node: str) -> None:
        graves = self.plan.buried(node)
        up_to = min(graves.values())
        names = tuple(name for name, number in graves.items() if number == up_to)
        order = AgentsOrder(self._core.order_number(), "stop", names, up_to)
        self.give(now, node, order, _BURY_WITHIN)

    # the end of agents ------------------------------------------------------------------------------------------------
    def ended(self, node: str, names: Iterable[str], again: bool, up_to: int) -> list[str]:
        """Take a node's word that agents have ended there; return those of the plan. `again`: they are to be placed
        again; else they are gone for good, also where they were before. `up_to`: number of the order that had placed
        them."""
        mine = self.plan.ended(node, names, again, up_to)
        if not again:
            self.remove(mine, node)
        return mine

    def remove(self, names: Iterable[str], ended_at: str = "") -> None:
        """Take agents out of the plan for good: they have ended at one node, and are buried at the others."""
        number, haunts = self._core.order_number(), dict[str, list[str]]()
        names = list(names)
        for name in names:
            agent = self.plan.agents.get(name)
            for node in {*agent.haunts, agent.node} - {ended_at} if agent is not None else ():
                haunts.setdefault(node, []).append(name)
        for node, some in haunts.items():
            self.plan.bury(some, node, number)
        self.plan.remove(names)


def names_of(order: PlaceOrder) -> list[str]:
    """Return the names of the agents that an order makes."""
    return [f"{order.group}/{number}" for number in order.numbers]
