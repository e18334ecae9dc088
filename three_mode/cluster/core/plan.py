"""Plan: the agents that a node has placed on the nodes of its cluster, and where those of a lost node go. No I/O.

    ordered --done--> there --its node is lost--> waiting --a node may run it--> ordered
       |---failed--------------------------------^                               ended, stopped: removed

An agent that is waiting is ordered from another node, which begins a later incarnation: it outranks the one of the lost
node, should that come back. The names that nodes show have the last word on where an agent is. What was stopped while
its node was away is buried there, and ended when the node is back.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from three_mode.agents.supervisor.placement import place
from three_mode.cluster.core.orders import PlaceOrder
from three_mode.cluster.core.plan_log import PlanChange, PlanCopy, PlanLog
from three_mode.cluster.core.planned import Move, PlacingNode, PlannedAgent, PlannedGroup
from three_mode.errors import ConfigurationError

_SLOTS = 256  # hosts of one node that count
_AGAIN, _AGAIN_AT_MOST = 0.25, 5.0  # seconds until an order that failed is given to some node again
_BURIED = 1024  # nodes for which stopped agents are remembered


class PlacementPlan:
    """The plan of one node, `me`."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.groups: dict[str, PlannedGroup] = {}
        self.agents: dict[str, PlannedAgent] = {}
        self.log = PlanLog()
        self._buried: dict[str, dict[str, int]] = {}  # node -> agent -> number up to which its orders are void

    # spawns -----------------------------------------------------------------------------------------------------------
    def open(self, order: PlaceOrder, on: Sequence[str], count: int, first: int = 0, only: str = "") -> range:
        """Return the numbers of `count` more agents of a group, from `first` at the least."""
        group = self.groups.get(order.group)
        if group is None:
            group = PlannedGroup(order)
        elif (group.order.module, group.order.kind) != (order.module, order.kind):
            raise ConfigurationError(
                f"there is a group {order.group!r} of {group.order.kind} already", hint="choose another name="
            )
        if count:
            self.groups[order.group] = group
        group.only, group.own = only, True
        begin = max(first, group.next_number)
        group.next_number, group.size = begin + count, group.size + count
        names = [f"{order.group}/{number}" for number in range(begin, begin + count)]
        for number, name in enumerate(names, begin):
            self.agents[name] = PlannedAgent(order.group, number, tuple(on))
        self.log.note(order.group, *names)
        return range(begin, begin + count)

    def spread(
        self, group: str, numbers: Sequence[int], nodes: Iterable[PlacingNode], on: Sequence[str]
    ) -> dict[str, list[int]]:
        """Return node -> the numbers that it gets: the fewest agents a host first, neighbours together."""
        planned, loads, hosts = self.groups[group], dict[str, int](), dict[str, str]()
        for node in nodes:
            if planned.may_be_on(node, on, self.me):
                slots = min(_SLOTS, max(1, node.offer.hosts))
                names = [f"{node.id}:{slot}" for slot in range(slots)]
                hosts.update(dict.fromkeys(names, node.id))
                loads.update(dict.fromkeys(names, node.agents // slots))
        found: dict[str, list[int]] = {}
        if loads:
            for slot, chosen in place(numbers, loads).items():
                found.setdefault(hosts[slot], []).extend(chosen)
        return found

    def spawned(self, names: Iterable[str]) -> None:
        """Note that a spawn has made its agents: from now on they come back by themselves."""
        known = [name for name in names if name in self.agents]
        for name in known:
            self.agents[name].spawning = False
        self.log.note(*known)

    # orders -----------------------------------------------------------------------------------------------------------
    def ordered(self, names: Iterable[str], node: str, number: int) -> None:
        """Note that agents are ordered from a node."""
        known = [name for name in names if name in self.agents]
        for name in known:
            agent = self.agents[name]
            agent.node, agent.order, agent.last = node, number, number
        self.log.note(*known)

    def done(self, number: int, owner: Callable[[str], str | None]) -> list[str]:
        """Note that an order is done; return its agents. Those that another node shows are there."""
        names = self._of(number)
        for name in names:
            agent = self.agents[name]
            self.groups[agent.group].failures = agent.order = 0
            _is_at(agent, owner(name) or agent.node)
        self.log.note(*names)
        return names

    def failed(self, now: float, number: int) -> list[str]:
        """Note that an order has failed: its agents wait, and their group does for a moment."""
        names = self._of(number)
        for name in names:
            agent = self.agents[name]
            agent.haunts |= {agent.node}
            agent.node, agent.order = "", 0
        self.log.note(*names)
        for group in {self.agents[name].group for name in names}:
            planned = self.groups[group]
            planned.not_before = now + min(_AGAIN_AT_MOST, _AGAIN * 2**planned.failures)
            planned.failures += 1
        return names

    def bar(self, group: str, node: str) -> None:
        """Note that a node cannot run a group."""
        if group in self.groups:
            self.groups[group].barred.add(node)
            self.log.note(group)

    def _of(self, number: int) -> list[str]:
        return [name for name, agent in self.agents.items() if agent.order == number and number]

    # nodes ------------------------------------------------------------------------------------------------------------
    def lost(self, node: str, name: str) -> list[str]:
        """Note that a node is lost, or left; return the agents that wait for another one."""
        waiting = []
        for own, agent in self.agents.items():
            if agent.node == node and self.comes_back(agent):
                agent.node, agent.order, agent.origin = "", 0, name
                agent.haunts |= {node}
                waiting.append(own)
        self.log.note(*waiting)
        return waiting

    def forgotten(self, node: str) -> list[str]:
        """Note that a node will not be back; return the agents that are gone with it for good."""
        gone = [name for name, agent in self.agents.items() if agent.node == node]
        self.remove(gone)
        return gone

    def comes_back(self, agent: PlannedAgent) -> bool:
        """Return whether an agent may come back elsewhere: its policy lets it, and its class is there."""
        group = self.groups[agent.group]
        return group.order.policy.strategy != "temporary" and group.only in ("", self.me)

    def shown(self, node: str, names: Iterable[str]) -> None:
        """Note that a node shows agents as its own, and no other has later ones."""
        for name in names:
            agent = self.agents.get(name)
            if agent is not None and not agent.order and _is_at(agent, node):
                self.log.note(name)

    def due(
        self, now: float, nodes: Sequence[PlacingNode], owner: Callable[[str], str | None]
    ) -> tuple[list[Move], list[str]]:
        """Return the orders to give for agents that wait, and the groups that newly wait for a node that may run them.

        What some node shows needs no order: it has come back by itself.
        """
        waiting: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
        for name, agent in self.agents.items():
            if agent.node or agent.spawning:
                continue
            found = owner(name)
            if found is not None:
                _is_at(agent, found)
                self.log.note(name)
            elif self.groups[agent.group].not_before <= now:
                waiting.setdefault((agent.group, agent.origin, agent.on), []).append(agent.index)
        moves, stranded = [], []
        for (group, origin, on), numbers in waiting.items():
            placed, planned = self.spread(group, sorted(numbers), nodes, on), self.groups[group]
            if not placed and not planned.stranded:
                stranded.append(group)
            planned.stranded = not placed
            moves += [Move(node, group, tuple(chosen), origin) for node, chosen in placed.items()]
        return moves, stranded

    # the end of agents ------------------------------------------------------------------------------------------------
    def ended(self, node: str, names: Iterable[str], again: bool = False, up_to: int = 2**62) -> list[str]:
        """Take a node's word that agents have ended there; return those of the plan. `again`: they wait; else whoever
        asks removes them. `up_to`: number of the order that had placed them: what was ordered after it has not
        ended."""
        known = [(name, agent) for name in names if (agent := self.agents.get(name)) is not None]
        mine = [name for name, agent in known if agent.node == node and agent.last <= up_to]
        if again:
            for name in mine:
                self.agents[name].node, self.agents[name].order = "", 0
            self.log.note(*mine)
        return mine

    def remove(self, names: Iterable[str]) -> None:
        """Take agents out of the plan: they do not come back."""
        for name in names:
            agent = self.agents.pop(name, None)
            if agent is None:
                continue
            self.groups[agent.group].size -= 1
            self.log.note(name, agent.group)
            if not self.groups[agent.group].size:
                del self.groups[agent.group]

    def bury(self, names: Iterable[str], node: str, number: int) -> None:
        """Remember to end agents at a node that cannot be asked now: those of its orders up to a number."""
        if node and node != self.me:
            self._buried.setdefault(node, {}).update(dict.fromkeys(names, number))
            while len(self._buried) > _BURIED:
                del self._buried[next(iter(self._buried))]
            self.log.note()

    @property
    def graveyards(self) -> list[str]:
        """The nodes at which agents are buried."""
        return list(self._buried)

    def buried(self, node: str) -> Mapping[str, int]:
        """Return the agents that have to be ended at a node that can be asked again, each with its number."""
        return self._buried.get(node, {})

    def unbury(self, node: str, names: Iterable[str], number: int) -> None:
        """Forget agents of orders up to a number that are ended at a node."""
        graves = self._buried.get(node, {})
        for name in names:
            if graves.get(name, number + 1) <= number:
                del graves[name]
        if not graves:
            self._buried.pop(node, None)
        self.log.note()

    # copies -----------------------------------------------------------------------------------------------------------
    def change(self, since: int) -> tuple[int, PlanChange]:
        """Return what has changed since a version, and that version; all of it, and 0, where that is not known."""
        keys = self.log.since(since)
        if keys is None:
            return 0, PlanChange(self.groups, self.agents, graves=self._buried)
        groups = {key: self.groups[key] for key in keys if key in self.groups}
        agents = {key: self.agents[key] for key in keys if key in self.agents}
        gone = tuple(key for key in keys if key not in groups and key not in agents)
        return since, PlanChange(groups, agents, gone, self._buried)

    def take_over(self, copy: PlanCopy, without: Collection[str] = ()) -> list[str]:
        """Take the agents of another node's plan into this one, but those in `without`; return them. What that node had
        ordered and not heard of is waiting now; a spawn that it had begun goes on."""
        taken = []
        for name, agent in copy.agents.items():
            given = copy.groups.get(agent.group)
            if name in self.agents or name in without or given is None:
                continue
            group = self.groups.get(agent.group)
            if group is None:
                group = self.groups[agent.group] = msgspec.structs.replace(
                    given, size=0, failures=0, not_before=0.0, stranded=False, own=False
                )
            elif (group.order.module, group.order.kind) != (given.order.module, given.order.kind):
                continue
            group.next_number = max(group.next_number, given.next_number)
            group.size += 1
            if agent.order:
                agent.haunts |= {agent.node}
                agent.node, agent.order = "", 0
            agent.spawning = False
            self.agents[name] = agent
            taken.append(name)
        for node, graves in copy.graves.items():
            if node != self.me:
                self._buried.setdefault(node, {}).update(graves)
        self.log.note(*taken, *{self.agents[name].group for name in taken})
        return taken

    def clear(self) -> None:
        """Forget all: another node leads these agents."""
        self.log.note(*self.groups, *self.agents)
        for table in (self.groups, self.agents, self._buried):
            table.clear()


def _is_at(agent: PlannedAgent, node: str) -> bool:
    """Note that a node has an agent, which may be another one than it was ordered from; return whether that is new."""
    new = agent.node != node or node in agent.haunts
    if agent.node != node:
        agent.node, agent.last = node, 0
    if node in agent.haunts:
        agent.haunts -= {node}
    return new
