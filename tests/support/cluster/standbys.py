"""Histories with nodes that stand by in the simulated network: a leads, b and often c stand by, d runs agents. Leaders
are killed, stopped and parted. Further promises:

- once the network is whole, one node leads, all know which, and it has in its plan what was ever promised
- an agent whose node was neither killed, stopped nor parted is the one that it was when its spawn ended, whoever leads
- an order of a node in whose place another one leads is refused where that is known

What is promised: a spawn that ended, and a stop, once every node that stands by and can be reached has a copy of it.
"""

from collections.abc import Callable
from typing import ClassVar

from tests.support.cluster.placing import GROUPS, HOME, PlacedHistory
from tests.support.cluster.simulation import Broken, History, SimNode
from three_mode.cluster.core import actions as act
from three_mode.cluster.core.leading import LED, Leading, LeadLost, LeadTaken
from three_mode.cluster.core.orders import (
    ORDER,
    AgentsOrder,
    Answer,
    BadOrder,
    CopyOrder,
    Failure,
    LeadOrder,
    Order,
    PlaceOrder,
    encode_order,
    read_order,
)
from three_mode.cluster.core.placing import Placing
from three_mode.cluster.core.plan import PlacementPlan


class StandbyHistory(PlacedHistory):
    """One history with nodes that stand by."""

    quiet = 24.0
    names: ClassVar[str] = "abcd"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.leading: dict[str, Leading] = {}
        self.standing_by = self.chance.choice(("b", "bc", "bc"))
        self.calm = self.chance.random() < 0.3
        """Whether the network is whole, and nothing but the leader is ever in trouble."""
        if self.calm:
            self.loss = self.twice = 0.0
            self.slowest = 0.01
        self.waiting: list[tuple[str, str, str]] = []  # node, "spawn" or "stop", agent: not promised yet
        self.promised: dict[str, str] = {}  # agent -> incarnation when it was promised
        self.unsure: set[str] = set()  # agents that were being stopped by a leader that is gone, or by one of two
        self.disturbed: set[str] = set()
        self.kills = self.takings = self.losses = self.refused = self.handed_over = 0

    # nodes ------------------------------------------------------------------------------------------------------------
    def _takes_part(self, node: SimNode) -> None:
        if node.name == "d":
            return
        first = node.name == HOME and not self.placings
        self.placings[node.id] = placing = Placing(node.core)
        stands_by = node.name in self.standing_by or (node.name == HOME and not first)
        self.leading[node.id] = Leading(node.core, placing, stands_by)
        if first:
            self.home = node

    def _placing_tick(self, node: SimNode) -> None:
        self.leading[node.id].tick(self.now, True)
        self._leading_events(node)
        super()._placing_tick(node)
        self._note_promises(node)

    def _leading_events(self, node: SimNode) -> None:
        while events := self.leading[node.id].take():
            for event in events:
                if isinstance(event, LeadTaken):
                    self.takings += 1
                elif isinstance(event, LeadLost):
                    self.losses += 1
                self._rehome(node)
        self._placing_events(node)

    def _look(self, node: SimNode) -> None:
        self._rehome(node)
        super()._look(node)

    def _rehome(self, node: SimNode) -> None:
        """Agents that a node placed which another one took over from are that one's."""
        taker, leads = self.takers[node.id], node.core.leads
        for name, (home, number) in list(taker.placed.items()):
            taker.placed[name] = (leads.leader_of(home) or home, number)
        for home, number, again in list(taker.owed):
            leader = leads.leader_of(home)
            if leader and leader != home:
                names = taker.owed.pop((home, number, again))
                taker.owed.setdefault((leader, number, again), set()).update(names)

    def leaders(self) -> list[SimNode]:
        return [node for node in self.nodes if node.alive and node.core.leads.own.term]

    # what is promised -------------------------------------------------------------------------------------------------
    def _spawn_done(self, names: list[str]) -> None:
        for node in self.nodes:
            if node.alive and node.id in self.placings:
                known = self.placings[node.id].plan.agents
                self.waiting += [(node.id, "spawn", name) for name in names if name in known]

    def _stop_placed(self, node: SimNode) -> None:
        before = set(self.stopped)
        super()._stop_placed(node)
        for name in self.stopped - before:
            self.waiting.append((node.id, "stop", name))
            if len(self.leaders()) > 1:
                self.unsure.add(name)

    def _note_promises(self, node: SimNode) -> None:
        leading, log = self.leading[node.id], self.placings[node.id].plan.log
        if len(self.leaders()) > 1:
            self.unsure |= self.stopped
        if not node.core.leads.own.term or leading.behind(log.version):
            return
        for other, what, name in [one for one in self.waiting if one[0] == node.id]:
            self.waiting.remove((other, what, name))
            acting = [one.agents[name] for one in self.nodes if one.alive and name in one.agents]
            if what == "spawn" and acting:
                self.promised[name] = acting[-1]

    def _keeps_all(self, without: SimNode) -> bool:
        """Return whether some other node that runs leads, or has a copy, with all that was promised."""
        wanted = set(self.promised) - self.stopped - self.ended
        for node in self.nodes:
            if node is without or not node.alive or node.stopped_until > self.now or node.id not in self.leading:
                continue
            plans = [set(self.placings[node.id].plan.agents)]
            plans += [set(copy.agents) for copy in self.leading[node.id].copies.values()]
            if any(wanted <= plan for plan in plans) and (node.core.leads.own.term or self.leading[node.id].copies):
                return True
        return False

    # what happens -----------------------------------------------------------------------------------------------------
    def _kill_leader(self, node: SimNode) -> None:
        chosen = [one for one in self.leaders() if self._keeps_all(one)]
        if chosen:
            self.kills += 1
            self._die(self.chance.choice(chosen))

    def _die(self, node: SimNode) -> None:
        if not self._keeps_all(node) or (self.calm and not node.core.leads.own.term):
            return
        self.unsure.update(name for other, what, name in self.waiting if other == node.id and what == "stop")
        self.waiting = [one for one in self.waiting if one[0] != node.id]
        self.disturbed.update(node.agents)
        node.alive = False
        self.at(self.now + 0.2 + 8.0 * self.chance.random(), lambda: self.start(node.name))

    def _part(self, node: SimNode) -> None:
        other = self.chance.choice([name for name in self.names if name != node.name])
        if not self.calm:
            pair = frozenset((node.name, other))
            self.parted.add(pair)
            self.disturbed |= self.spawned
            self.at(self.now + self.chance.choice((1.0, 5.0, 9.0)), lambda: self.parted.discard(pair))

    def _stop_for_a_while(self, node: SimNode) -> None:
        if not self.calm or node.core.leads.own.term:
            super()._stop_for_a_while(node)
            self.disturbed.update(node.agents)

    def _host_dies(self, node: SimNode) -> None:
        before = set(node.agents)
        super()._host_dies(node)
        self.disturbed |= before - set(node.agents)

    def _spawn_more(self, node: SimNode) -> None:
        leaders = [one for one in self.leaders() if one.stopped_until <= self.now]
        if leaders:
            leader, group, before = self.chance.choice(leaders), self.chance.choice(sorted(GROUPS)), set(self.spawned)
            self._spawn_group(leader, group)
            again = set(self.placings[leader.id].plan.agents) & before & (self.stopped | self.ended)
            for names in (self.stopped, self.ended):  # a group that had no agents begins at 0 again
                names -= again
            self.unsure |= again

    def _hand_over(self, node: SimNode) -> None:
        leading = self.leading.get(node.id)
        other = leading.next_in_line() if leading is not None and node.core.leads.own.term else ""
        if other:
            self.handed_over += 1
            order = LeadOrder(node.core.order_number(), self.placings[node.id].plan.log.version)
            node.core.ask(self.now, other, "", ORDER, encode_order(order), 3.0)

    # orders and what cores ask for ------------------------------------------------------------------------------------
    def _begin_call(self, node: SimNode, action: act.BeginCall) -> None:
        frame = action.frame
        order = read_order(frame.payload) if frame.topic == ORDER else None
        if isinstance(order, PlaceOrder):
            node.core.leads.heard(action.node, order.took)
        if isinstance(order, PlaceOrder | AgentsOrder) and node.core.leads.leader_of(action.node) not in (
            "",
            action.node,
        ):
            self.refused += 1
            node.core.fail(self.now, action.node, frame.id, LED, "another node leads")
            return
        super()._begin_call(node, action)

    def _do(self, node: SimNode, home: str, order: Order, call: int) -> None:
        leading = self.leading.get(node.id)
        answer: Answer = Failure("failed", "this node does not stand by")
        if isinstance(order, CopyOrder | LeadOrder):
            if leading is not None:
                try:
                    if isinstance(order, CopyOrder):
                        answer = leading.copy_came(home, order)
                    else:
                        answer = leading.asked_to_lead(home, order)
                except BadOrder as error:
                    raise Broken(f"a copy cannot be read: {error}") from error
                self._leading_events(node)
            for one in self.takers[node.id].book.done(home, order.number, answer):
                if isinstance(answer, bytes):
                    node.core.answer(self.now, home, one, answer)
                else:
                    node.core.fail(self.now, home, one, answer.code, answer.text)
            return
        super()._do(node, home, order, call)

    def _peer_changed(self, node: SimNode, action: act.PeerChanged) -> None:
        super()._peer_changed(node, action)
        if node.id in self.leading:
            self.leading[node.id].peer_changed(action)

    def _lead_said(self, node: SimNode, action: act.LeadSaid) -> None:
        if node.id in self.leading:
            self.leading[node.id].said(self.now)
            self._leading_events(node)
        self._rehome(node)

    def _call_ended(self, node: SimNode, action: act.CallAnswered | act.CallEnded | act.CallFailed) -> None:
        leading = self.leading.get(node.id)
        if leading is not None and not isinstance(action, act.CallEnded) and leading.result(self.now, action):
            return
        if action.id not in node.calls and not self._is_an_order(node, action.id):
            return  # the answer to a hand-over
        super()._call_ended(node, action)

    def _is_an_order(self, node: SimNode, call: int) -> bool:
        placing = self.placings.get(node.id)
        return call in self.takers[node.id].reports or (placing is not None and call in placing._calls)

    DEEDS: tuple[Callable[..., None], ...] = (
        *(History._ask,) * 2,
        *(History._tell,) * 2,
        _stop_placed,
        _spawn_more,
        PlacedHistory._ends_itself,
        _host_dies,
        *(_part,) * 3,
        _die,
        *(_kill_leader,) * 3,
        *(_stop_for_a_while,) * 2,
        _hand_over,
    )
    ON: ClassVar[dict[type, Callable[..., None]]] = PlacedHistory.ON | {
        act.BeginCall: _begin_call,
        act.PeerChanged: _peer_changed,
        act.LeadSaid: _lead_said,
        act.CallAnswered: _call_ended,
        act.CallEnded: _call_ended,
        act.CallFailed: _call_ended,
    }

    # the end ----------------------------------------------------------------------------------------------------------
    def _plan_at_the_end(self) -> PlacementPlan:
        return self.placings[self.leaders()[0].id].plan

    def _check_end(self) -> None:
        leaders = self.leaders()
        if len(leaders) != 1:
            raise Broken(f"{[node.id for node in leaders]} lead at the end")
        self.spawned &= set(self.promised) | self.stopped
        self.stopped -= self.unsure
        self.spawned -= self.unsure
        super()._check_end()
        (leader,) = leaders
        for node in self.nodes:
            if not node.alive:
                continue
            for name, (home, _) in self.takers[node.id].placed.items():
                if home != leader.id:
                    raise Broken(f"{name} at {node.id} is led by {home}, and {leader.id} leads")
            leading = self.leading.get(node.id)
            if leading is not None and (leading._calls or leading._final):
                raise Broken(f"{node.id} still sends copies of its plan")
            if leading is not None and node is not leader and node.core.leads.own.stands_by:
                copy = leading.copies.get(leader.id)
                if copy is None or set(copy.agents) != set(self.placings[leader.id].plan.agents):
                    raise Broken(f"{node.id} stands by, and has no copy of the plan of {leader.id}")
        for name, incarnation in self.promised.items():
            if name not in self.disturbed | self.stopped | self.ended | self.unsure:
                acting = [node.agents[name] for node in self.nodes if node.alive and name in node.agents]
                if acting != [incarnation]:
                    raise Broken(f"{name} was disturbed by nothing, and was made anew")
