"""Quarantine: hosts of their own for orders whose agents ended a host while they were made.

The fault of a start is the order's, not the host's: the other agents of that host come back; the order is tried once
more where it can harm nobody, and stays there if it works.
"""

from collections import OrderedDict
from collections.abc import Iterable

from three_mode.agents.supervisor.events import AgentsQuarantined, SupervisorEvents
from three_mode.agents.supervisor.hosts import Host, Hosts
from three_mode.agents.supervisor.roster import Entry, Group, Roster
from three_mode.agents.wire.importing import ClassPath

LOST_STARTS = 3  # hosts in a row that ended while an agent was made: the agent is suspected without a proof
_REMEMBERED = 256  # orders that have ended a host
_RELEASE_WITHIN = 5.0  # seconds that a host without agents has to end in order

_OrderKey = tuple[ClassPath, bytes]


class Quarantine:
    """Choice of the agents that go to a quarantine, and the hosts for them."""

    def __init__(self, hosts: Hosts, roster: Roster, event_log: SupervisorEvents) -> None:
        self._hosts, self._roster, self._event_log = hosts, roster, event_log
        self._crashing: OrderedDict[_OrderKey, str] = OrderedDict()

    def remember(self, group: Group, agent: str) -> None:
        """Note that an order has ended a host: the next one like it goes to a quarantine at once."""
        self._crashing[_key(group)] = agent
        while len(self._crashing) > _REMEMBERED:
            self._crashing.popitem(last=False)

    def forgive(self, group: Group) -> None:
        """Note that an order has worked after all."""
        self._crashing.pop(_key(group), None)

    def culprit(self, group: Group) -> str:
        """Return the agent of an order like this that has ended a host; empty where none has."""
        return self._crashing.get(_key(group), "")

    def suspects(self, host: Host, affected: list[Entry]) -> list[Entry]:
        """Return the agents that must not come back beside others, of those on a host that has ended.

        That is the agent that was being made, with those of its group that were to be made with it. To be called before
        the entries change.
        """
        start = host.ended_in
        for entry in affected:
            entry.lost_starts = entry.lost_starts + 1 if entry.being_made else 0
            entry.being_made = False
        blamed = {entry.name for entry in affected if entry.lost_starts >= LOST_STARTS}
        if start is not None:
            blamed.add(start.agent)
        groups = {entry.group.name for entry in affected if entry.name in blamed}
        return [
            entry
            for entry in affected
            if entry.name in blamed or (entry.state == "restarting" and entry.group.name in groups)
        ]

    def open(self, agent: str, agents: int, reason: str) -> Host:
        """Return a new host for an order, which has to be started."""
        host = self._hosts.add_quarantine()
        self._event_log.add(AgentsQuarantined(agent, host.label, agents, reason))
        return host

    def release_empty(self, labels: Iterable[str]) -> None:
        """End those of these hosts that are a quarantine and have no agent left."""
        for label in labels:
            host = self._hosts.all.get(label)
            if host is not None and host.quarantine and not self._roster.on_host(label):
                self._hosts.in_background(self._hosts.release(host, _RELEASE_WITHIN))


def _key(group: Group) -> _OrderKey:
    return group.order.target, group.order.init
