"""Roster: all agents of an orchestrator, with the host, group, state and restarts of each. No I/O."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.supervisor.restart import History, Restart
from three_mode.agents.wire.importing import latest
from three_mode.agents.wire.orders import Failed, SpawnOrder
from three_mode.errors import ConfigurationError, NoSuchAgent
from transports.bus import matches

_PAST = 64  # members whose listeners are remembered after their end


def _unranked(agents: Sequence[str]) -> str:
    """Give agents no rank: nobody numbers them."""
    return ""


@dataclass(slots=True)
class Group:
    """Agents that were spawned under one name."""

    name: str
    kind: type
    order: SpawnOrder
    restart: Restart
    next_number: int = 0
    """Number of the next agent of the group."""
    start_took: float = 0.0
    """Seconds of the slowest spawn of the group that succeeded."""

    def start_within(self, least: float) -> float:
        """Return the seconds that a start may take when agents come back: twice what it took at first, or `least`."""
        return max(least, 2 * self.start_took)


@dataclass(slots=True)
class Entry:
    """One agent."""

    name: str
    group: Group
    number: int
    host: str
    history: History
    state: str = "starting"
    """starting, running, restarting, or given up."""
    reason: str = ""
    """Why it is restarting or given up."""
    early_report: Failed | None = None
    """Failure that its host reported before the supervisor knew that the agent runs."""
    being_made: bool = False
    """Whether its host has the order to make it, and has not answered."""
    lost_starts: int = 0
    """Hosts in a row that have ended while it was made."""
    ticket: int = 0
    """Number of the latest attempt to bring it back, or of the end of its host: older attempts end."""
    rank: str = ""
    """Place of its incarnations among all of its name, as `Roster.rank` gave it."""


@dataclass
class Roster:
    """All groups and agents of an orchestrator."""

    groups: dict[str, Group] = field(default_factory=dict)
    agents: dict[str, Entry] = field(default_factory=dict)
    rank: Callable[[Sequence[str]], str] = _unranked
    """Gives the rank of agents that are placed here now, for all of their lives here: those that are placed elsewhere
    later have a higher one. Empty: nobody numbers them."""
    _past: OrderedDict[str, dict[str, int]] = field(default_factory=OrderedDict)

    def open_group(self, name: str, kind: type, order: SpawnOrder, restart: Restart, count: int) -> tuple[Group, range]:
        """Return the group, new or not, and the numbers of `count` more agents in it."""
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(name, kind, order, restart)
        elif group.kind is not kind and _same_name(group.kind, kind):
            raise ConfigurationError(
                f"the group {name!r} has the old code of {kind.__qualname__}, which was defined anew since",
                hint=f"orc.restart(orc.group({name!r})) gives it the new code; or stop it, or choose another name=",
            )
        elif group.kind is not kind:
            raise ConfigurationError(
                f"there is a group {name!r} of {group.kind.__qualname__} already", hint="choose another name="
            )
        numbers = range(group.next_number, group.next_number + count)
        group.next_number += count
        return group, numbers

    def join_group(self, name: str, kind: type, order: SpawnOrder, restart: Restart, numbers: Sequence[int]) -> Group:
        """Return the group, new or not, for agents whose numbers another node has given."""
        if not self.has_agents_of(name):
            self.groups.pop(name, None)  # an order before this one has failed
        group, _ = self.open_group(name, kind, order, restart, 0)
        group.next_number = max(group.next_number, max(numbers, default=-1) + 1)
        return group

    def has_agents_of(self, group: str) -> bool:
        """Return whether there are agents of a group."""
        return any(entry.group.name == group for entry in self.agents.values())

    def add(self, group: Group, numbers: Iterable[int], host: str) -> list[Entry]:
        """Add agents of a group that a host is about to make."""
        numbers, restart = list(numbers), group.restart
        names = [f"{group.name}/{number}" for number in numbers]
        rank = self.rank(names)
        entries = [
            Entry(name, group, number, host, History(restart), rank=rank)
            for name, number in zip(names, numbers, strict=True)
        ]
        self.agents.update((entry.name, entry) for entry in entries)
        return entries

    def entry(self, name: str) -> Entry:
        """Return the entry of an agent, or raise NoSuchAgent."""
        entry = self.agents.get(name)
        if entry is None:
            raise NoSuchAgent(f"this orchestrator has no agent {name!r}", agent=name)
        return entry

    def comes_back(self, name: str) -> bool:
        """Return whether an agent is there, or will be again."""
        entry = self.agents.get(name)
        return entry is not None and entry.state != "given up"

    def remove(self, names: Iterable[str]) -> None:
        """Remove agents, and groups that have none left."""
        for name in names:
            entry = self.agents.pop(name, None)
            if entry is not None and not any(other.group is entry.group for other in self.agents.values()):
                self.groups.pop(entry.group.name, None)

    def renew(self, names: Iterable[str]) -> None:
        """Note that agents were restarted: a group of which all were has the class that its name leads to now."""
        restarted = set(names)
        for group in {id(entry.group): entry.group for name in names if (entry := self.agents.get(name))}.values():
            if all(entry.name in restarted for entry in self.agents.values() if entry.group is group):
                group.kind = latest(group.order.target) or group.kind

    def on_host(self, host: str) -> list[Entry]:
        """Return the agents of a host, without those that are given up."""
        return [entry for entry in self.agents.values() if entry.host == host and entry.state != "given up"]

    def loads(self, hosts: Iterable[str]) -> dict[str, int]:
        """Return host -> the number of its agents."""
        loads = dict.fromkeys(hosts, 0)
        for entry in self.agents.values():
            if entry.host in loads and entry.state != "given up":
                loads[entry.host] += 1
        return loads

    # listeners --------------------------------------------------------------------------------------------------------
    def member_ended(self, member: str, host: str) -> None:
        """Remember how many agents of each group a host had: receipts ask about earlier broadcasts."""
        counts: dict[str, int] = {}
        for entry in self.on_host(host):
            counts[entry.group.name] = counts.get(entry.group.name, 0) + 1
        self._past[member] = counts
        while len(self._past) > _PAST:
            self._past.popitem(last=False)

    def listeners(self, topic: str, members: Mapping[str, str]) -> dict[str, int]:
        """Return bus member -> how many of its agents listen to a topic, or did when it ended.

        `members`: host -> member.
        """
        found: dict[str, int] = {}
        for entry in self.agents.values():
            member = members.get(entry.host)
            if member is not None and _listens(entry.group.kind, topic):
                found[member] = found.get(member, 0) + 1
        for member, counts in self._past.items():
            listening = (
                count
                for name, count in counts.items()
                if name in self.groups and _listens(self.groups[name].kind, topic)
            )
            found[member] = sum(listening)
        return found


def _same_name(one: type, other: type) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _listens(kind: type, topic: str) -> bool:
    return any(
        matches(subscribed.pattern, topic) for spec in specs_of(kind).values() for subscribed in spec.options.topics
    )
