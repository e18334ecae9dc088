"""Histories of placed agents in the simulated network: node a is their home, and orders agents from the others, which
are parted, stopped, die and come back. Further promises:

- an order is done once; agents of one name that begin by order have epochs above those that their home had seen
- once the network is whole, each agent that was placed and neither stopped nor gone with its policy acts at one node,
  and the plan has it there; one that was stopped acts nowhere
"""

from collections.abc import Callable
from typing import ClassVar

from tests.support.cluster.simulation import TIMING, Broken, History, SimNode
from three_mode.cluster.core import actions as act
from three_mode.cluster.core.frames import Offer, Surroundings
from three_mode.cluster.core.orders import (
    ORDER,
    AgentsOrder,
    EndedOrder,
    Failure,
    Order,
    OrderBook,
    Placed,
    PlaceOrder,
    RestartRule,
    encode_order,
    read_order,
    read_placed,
)
from three_mode.cluster.core.placing import Moved, OrderDone, OrderHere, Placing, Stranded, names_of
from three_mode.cluster.core.plan import PlacementPlan
from three_mode.cluster.core.planned import PlacingNode

HOME = "a"
OFFER = Offer(("gpu",), 2, ("city",))
HERE = Offer((), 1, ("city",))
GROUPS: dict[str, tuple[int, tuple[str, ...]]] = {"scout": (2, ()), "judge": (1, ("gpu",))}


class Taker:
    """The part of a node that takes orders."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.placed: dict[str, tuple[str, int]] = {}  # agent -> home, number of its order
        self.owed: dict[tuple[str, int, bool], set[str]] = {}  # home, order, again -> agents that it is to be told of
        self.reports: dict[int, tuple[str, EndedOrder]] = {}
        self.refuses = False
        """Whether it can import nothing."""


class PlacedHistory(History):
    """One history with a home."""

    quiet = 20.0
    happenings = (8, 30)
    names: ClassVar[str] = "abc"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._events.clear()
        self.takers: dict[str, Taker] = {}
        self.placings: dict[str, Placing] = {}  # node that gives orders -> its plan and orders
        self.stopped: set[str] = set()
        self.spawned: set[str] = set()
        self.ended: set[str] = set()
        self.spawns: set[tuple[str, int]] = set()  # node, number of its order
        self.done: set[tuple[str, str, int]] = set()
        self.moves = self.strandings = self.begun_orders = self.refusals = 0
        for name in self.names:
            self.at(0.5 * self.chance.random() if name != HOME else 0.0, lambda name=name: self.start(name))
        for group in GROUPS:
            self.at(2.0 + self.chance.random(), lambda group=group: self._spawn_group(self.home, group))

    # nodes ------------------------------------------------------------------------------------------------------------
    def start(self, name: str) -> None:
        self._starts += 1
        node = SimNode(self, name, self._starts)
        if not self.in_order:  # orders come whole there, as small ones do
            node.core.large.piece = node.core.large.window = 1 << 18
        self.nodes.append(node)
        self.takers[node.id] = Taker()
        self.takers[node.id].refuses = name == "c" and self.chance.random() < 0.3
        node.core.surround(Surroundings(("helper",), {"scout": ("news.*",)}, OFFER))
        self._takes_part(node)
        node.done()
        self._look(node)

    def _takes_part(self, node: SimNode) -> None:
        """Let a node give orders, if it is to."""
        if node.name == HOME and not self.placings:
            self.home, self.placings[node.id] = node, Placing(node.core)

    def _look(self, node: SimNode) -> None:
        """Do what a node does each heartbeat."""
        if node.id in self.placings:
            self._placing_tick(node)
        taker = self.takers[node.id]
        for (home, up_to, again), names in list(taker.owed.items()):
            if node.core.peers.reachable(home) or home == node.id:
                number = node.core.order_number()
                order = EndedOrder(number, tuple(sorted(names)), up_to, "it ended", again=again)
                if home == node.id:
                    self._take_ended(node, order)
                    del taker.owed[home, up_to, again]
                elif not any((to, one.up_to, one.again) == (home, up_to, again) for to, one in taker.reports.values()):
                    call = node.core.ask(self.now, home, "", ORDER, encode_order(order), 3.0)
                    taker.reports[call] = (home, order)
        node.done()
        node.at(self.now + TIMING.heartbeat, lambda: self._look(node))

    def _here(self, node: SimNode) -> PlacingNode:
        return PlacingNode(node.id, node.name, HERE, len(node.core.own.claims))

    def _placing_tick(self, node: SimNode) -> None:
        self.placings[node.id].tick(self.now, self._here(node), True)
        self._placing_events(node)

    def _placing_events(self, node: SimNode) -> None:
        while events := self.placings[node.id].take():
            for event in events:
                match event:
                    case OrderHere(order, _):
                        self._do(node, node.id, order, 0)
                    case OrderDone(order, _, answer):
                        self._order_done(node, order, answer)
                    case Moved():
                        self.moves += 1
                    case Stranded():
                        self.strandings += 1

    # the home ---------------------------------------------------------------------------------------------------------
    def _spawn_group(self, node: SimNode, group: str) -> None:
        if node.stopped_until > self.now:
            self.at(node.stopped_until, lambda: self._spawn_group(node, group))
            return
        template = PlaceOrder(0, group, (), "city.scouts", "Scout", b"", policy=RestartRule("permanent"))
        count, on = GROUPS[group]
        numbers = self.placings[node.id].plan.open(template, on, count)
        self.spawned.update(f"{group}/{number}" for number in numbers)
        self._place(node, group, list(numbers))
        node.done()

    def _place(self, node: SimNode, group: str, numbers: list[int]) -> None:
        placing = self.placings[node.id]
        plan = placing.plan
        if not numbers or group not in plan.groups:  # they were stopped meanwhile
            return
        spread = plan.spread(group, numbers, placing.nodes(self._here(node)), GROUPS[group][1])
        if not spread:
            node.at(
                self.now + 1.0,
                lambda: self._place(node, group, [one for one in numbers if f"{group}/{one}" in plan.agents]),
            )
        for other, chosen in spread.items():
            number = node.core.order_number()
            template = plan.groups[group].order
            order = PlaceOrder(
                number, group, tuple(chosen), template.module, template.kind, b"", policy=template.policy
            )
            plan.ordered(names_of(order), other, number)
            self.spawns.add((node.id, number))
            placing.give(self.now, other, order, 6.0)
        self._placing_events(node)

    def _order_done(self, node: SimNode, order: Order, answer: bytes | Failure) -> None:
        plan = self.placings[node.id].plan
        if isinstance(order, PlaceOrder) and (node.id, order.number) in self.spawns:
            self.spawns.discard((node.id, order.number))
            wanted = [name for name in names_of(order) if name in plan.agents]
            if isinstance(answer, bytes) and not read_placed(answer).cannot:
                plan.spawned(wanted)
                self._spawn_done(wanted)
            elif wanted:  # a spawn places them again
                self._place(node, order.group, [int(name.rpartition("/")[2]) for name in wanted])

    def _spawn_done(self, names: list[str]) -> None:
        """Note that a spawn has made its agents."""

    def _stop_placed(self, node: SimNode) -> None:
        """Stop an agent, wherever it is."""
        placing = self.placings.get(node.id)
        choices = sorted(placing.plan.agents) if placing is not None else []
        if placing is None or not choices:
            return
        name = self.chance.choice(choices)
        if placing.plan.agents[name].spawning:
            return
        self.stopped.add(name)
        placing.remove([name])  # a node that can be asked ends it as one that is back does
        self.takers[node.id].placed.pop(name, None)
        node.agents.pop(name, None)
        node.core.release([name])

    def _ends_itself(self, node: SimNode) -> None:
        """An agent ends for good where it is: its node reports it."""
        taker = self.takers[node.id]
        names = sorted(name for name in taker.placed if name in node.agents)
        if names:
            name = self.chance.choice(names)
            node.agents.pop(name)
            node.core.release([name])
            home, number = taker.placed.pop(name)
            taker.owed.setdefault((home, number, False), set()).add(name)
            self.ended.add(name)

    # orders at a node -------------------------------------------------------------------------------------------------
    def _begin_call(self, node: SimNode, action: act.BeginCall) -> None:
        frame = action.frame
        if frame.topic != ORDER:
            super()._begin_call(node, action)
            return
        order, book = read_order(frame.payload), self.takers[node.id].book
        match book.take(action.node, order.number, frame.id):
            case "new":
                self._do(node, action.node, order, frame.id)
            case "repeated":
                answer = book.answer(action.node, order.number)
                if isinstance(answer, bytes):
                    node.core.answer(self.now, action.node, frame.id, answer)
            case "forgotten":
                node.core.fail(self.now, action.node, frame.id, "forgotten", "too old")

    def _do(self, node: SimNode, home: str, order: Order, call: int) -> None:
        key = (node.id, home, order.number)
        if key in self.done:
            raise Broken(f"order {order.number} of {home} is done twice at {node.id}")
        self.done.add(key)
        taker = self.takers[node.id]
        if isinstance(order, EndedOrder):
            self._take_ended(node, order, home)
        elif isinstance(order, AgentsOrder):
            for name in order.names:
                placed = taker.placed.get(name)
                if placed is not None and placed[1] <= order.up_to:
                    del taker.placed[name]
                    node.core.release([name])
                    node.agents.pop(name, None)
        elif isinstance(order, PlaceOrder):
            if taker.refuses:
                self.refusals += 1
                self._answer(node, home, order.number, encode_order(Placed("it cannot")))
                return
            self.begun_orders += 1
            names = [name for name in names_of(order) if name not in node.agents]
            taker.placed.update(dict.fromkeys(names_of(order), (home, order.number)))
            node.core.reserve(names, order.number)
            node.at(self.now + self.chance.choice((0.0, 0.3)), lambda: self._made(node, home, order, names))
            return
        self._answer(node, home, order.number, b"\xc0")

    def _made(self, node: SimNode, home: str, order: PlaceOrder, names: list[str]) -> None:
        taker = self.takers[node.id]
        placed = {one: taker.placed.get(one, ("", 0))[1] for one in names}
        wanted = [one for one in names if placed[one] == order.number and one not in node.agents]
        node.begin(wanted)
        for name in wanted:
            if node.core.own.claims[name].number <= order.number:
                raise Broken(f"{name} begins by order {order.number} with the epoch {node.core.own.claims[name]}")
        self._answer(node, home, order.number, encode_order(Placed()))
        node.done()

    def _answer(self, node: SimNode, home: str, number: int, answer: bytes) -> None:
        if home == node.id:
            self.placings[home].done_here(self.now, number, answer)
            self._placing_events(node)
        for call in self.takers[node.id].book.done(home, number, answer):
            node.core.answer(self.now, home, call, answer)

    def _take_ended(self, node: SimNode, order: EndedOrder, sender: str = "") -> None:
        if node.id in self.placings:
            self.placings[node.id].ended(sender or node.id, order.names, order.again, order.up_to)

    # what the cores ask for -------------------------------------------------------------------------------------------
    def _peer_changed(self, node: SimNode, action: act.PeerChanged) -> None:
        super()._peer_changed(node, action)
        if node.id in self.placings:
            self.placings[node.id].peer_changed(action)
            self._placing_events(node)

    def _names_shown(self, node: SimNode, action: act.NamesShown) -> None:
        if node.id in self.placings:
            self.placings[node.id].shown(action.names)

    def _call_ended(self, node: SimNode, action: act.CallAnswered | act.CallEnded | act.CallFailed) -> None:
        report = self.takers[node.id].reports.pop(action.id, None)
        if report is not None:
            home, order = report
            owed = self.takers[node.id].owed
            key = home, order.up_to, order.again
            if isinstance(action, act.CallAnswered) and key in owed:
                owed[key].difference_update(order.names)
                if not owed[key]:
                    del owed[key]
            return
        orders = self.placings.get(node.id) if not isinstance(action, act.CallEnded) else None
        if orders is not None and orders.result(self.now, action):  # type: ignore[arg-type]
            self._placing_events(node)
        else:
            super()._call_ended(node, action)

    def _end_agents(self, node: SimNode, action: act.EndAgents) -> None:
        taker = self.takers[node.id]
        for name in action.names:
            node.agents.pop(name, None)
            placed = taker.placed.pop(name, None)
            if placed is not None:
                taker.owed.setdefault((*placed, True), set()).add(name)

    def _host_dies(self, node: SimNode) -> None:
        lost = [name for name in node.agents if self.chance.random() < 0.5]
        for name in lost:
            del node.agents[name]
        node.core.lose(self.now, lost)
        node.at(self.now + 2.0 * self.chance.random(), lambda: self._host_back(node, lost))

    def _host_back(self, node: SimNode, names: list[str]) -> None:
        placed = self.takers[node.id].placed
        back = [name for name in names if name not in node.agents and name in placed]
        if back:
            node.begin(back)
            node.done()

    def _stop_for_a_while(self, node: SimNode) -> None:
        node.stopped_until = min(self.now + self.chance.choice((2.0, 6.0, 14.0)), self.trouble)

    def _die(self, node: SimNode) -> None:
        if node is not self.home:
            super()._die(node)

    DEEDS: tuple[Callable[..., None], ...] = (
        *(History._ask,) * 3,
        *(History._tell,) * 3,
        History._cast,
        _stop_placed,
        _ends_itself,
        _host_dies,
        *(History._part,) * 3,
        *(_die,) * 2,
        *(_stop_for_a_while,) * 2,
    )
    ON: ClassVar[dict[type, Callable[..., None]]] = History.ON | {
        act.BeginCall: _begin_call,
        act.PeerChanged: _peer_changed,
        act.NamesShown: _names_shown,
        act.CallAnswered: _call_ended,
        act.CallEnded: _call_ended,
        act.CallFailed: _call_ended,
        act.EndAgents: _end_agents,
    }

    # the end ----------------------------------------------------------------------------------------------------------
    def _plan_at_the_end(self) -> PlacementPlan:
        return self.placings[self.home.id].plan

    def _check_end(self) -> None:
        super()._check_end()
        alive, plan = [node for node in self.nodes if node.alive], self._plan_at_the_end()
        for name in sorted(self.spawned):
            acts = [node.id for node in alive if name in node.agents]
            if name in self.stopped:
                if acts:
                    raise Broken(f"{name} was stopped, and acts at {acts}")
            elif name in self.ended:
                continue  # it may have been moved before its node said so
            elif len(acts) != 1:
                raise Broken(f"{name} was placed, and acts at {acts}; the plan has {plan.agents.get(name)}")
            elif plan.agents[name].node != acts[0]:
                raise Broken(f"{name} acts at {acts[0]}, and the plan has it at {plan.agents[name]}")
