"""What an orchestrator knows of its agents: where each lives, how it was made, how often it came back. No I/O."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.supervisor.restart import History, Restart
from three_mode.agents.wire.orders import Failed, SpawnOrder
from three_mode.errors import ConfigurationError, NoSuchAgent
from transports.bus import matches

_PAST = 64  # members whose listeners are remembered after their end


@dataclass(slots=True)
class Group:
    """Agents that were spawned under one name."""

    name: str
    kind: type
    order: SpawnOrder
    restart: Restart
    next_number: int = 0


@dataclass(slots=True)
class Entry:
    name: str
    group: Group
    number: int
    host: str
    history: History
    state: str = "starting"  # running, restarting, given up
    reason: str = ""
    told: Failed | None = None
    """What its host said of it before it was known to run."""
    ticket: int = 0
    """Of its latest return, or of the end of its host: whoever holds an older one no longer brings it back."""


@dataclass
class Roster:
    groups: dict[str, Group] = field(default_factory=dict)
    agents: dict[str, Entry] = field(default_factory=dict)
    _past: OrderedDict[str, dict[str, int]] = field(default_factory=OrderedDict)

    def open_group(self, name: str, kind: type, order: SpawnOrder, restart: Restart, count: int) -> tuple[Group, range]:
        """The group and the numbers for `count` more agents; a second spawn under a name goes on counting."""
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(name, kind, order, restart)
        elif group.kind is not kind:
            raise ConfigurationError(
                f"there is a group {name!r} of {group.kind.__qualname__} already", hint="choose another name="
            )
        numbers = range(group.next_number, group.next_number + count)
        group.next_number += count
        return group, numbers

    def enter(self, group: Group, numbers: Iterable[int], host: str) -> list[Entry]:
        made = [Entry(f"{group.name}/{number}", group, number, host, History(group.restart)) for number in numbers]
        self.agents.update((entry.name, entry) for entry in made)
        return made

    def entry(self, name: str) -> Entry:
        entry = self.agents.get(name)
        if entry is None:
            raise NoSuchAgent(f"this orchestrator has no agent {name!r}", agent=name)
        return entry

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            entry = self.agents.pop(name, None)
            if entry is not None and not any(one.group is entry.group for one in self.agents.values()):
                self.groups.pop(entry.group.name, None)

    def on_host(self, host: str) -> list[Entry]:
        return [entry for entry in self.agents.values() if entry.host == host and entry.state != "given up"]

    def loads(self, hosts: Iterable[str]) -> dict[str, int]:
        loads = dict.fromkeys(hosts, 0)
        for entry in self.agents.values():
            if entry.host in loads and entry.state != "given up":
                loads[entry.host] += 1
        return loads

    # who listens ------------------------------------------------------------------------------------------------------
    def member_ended(self, member: str, host: str) -> None:
        """Remembers how many of each group it had: receipts ask about broadcasts that went out before."""
        counts: dict[str, int] = {}
        for entry in self.on_host(host):
            counts[entry.group.name] = counts.get(entry.group.name, 0) + 1
        self._past[member] = counts
        while len(self._past) > _PAST:
            self._past.popitem(last=False)

    def listeners(self, topic: str, members: Mapping[str, str]) -> dict[str, int]:
        """Member -> how many of its agents listen to a topic, or did when it ended. `members`: host -> member."""
        found: dict[str, int] = {}
        for entry in self.agents.values():
            member = members.get(entry.host)
            if member is not None and _hears(entry.group.kind, topic):
                found[member] = found.get(member, 0) + 1
        for member, counts in self._past.items():
            heard = (
                count for name, count in counts.items() if name in self.groups and _hears(self.groups[name].kind, topic)
            )
            found[member] = sum(heard)
        return found


def _hears(kind: type, topic: str) -> bool:
    return any(matches(one.pattern, topic) for spec in specs_of(kind).values() for one in spec.options.topics)
