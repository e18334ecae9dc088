"""An orchestrator as the home of a node: what the gateway to other nodes asks of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.supervisor.events import SupervisorEvent, SupervisorEvents
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.supervisor.supervisor import Supervisor
from three_mode.agents.wire.importing import path_here, path_of
from three_mode.agents.wire.orders import SpawnOrder
from transports.bus import Bus

_STOP_WITHIN = 10.0
_RELEASE_WITHIN = 5.0  # seconds that a host of its own has to end in order, where nobody is left whom it was for


class SupervisedNode:
    """A node, seen from its gateway."""

    def __init__(self, session: Session, supervisor: Supervisor, events: SupervisorEvents, hosts: int) -> None:
        self._session, self._supervisor, self._events = session, supervisor, events
        self.hosts = hosts
        """Number of its host processes; 0: its agents are in this process."""

    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """Return group -> the patterns that its agents listen to."""
        found = {}
        for name, group in self._supervisor.roster.groups.items():
            specs = specs_of(group.kind).values()
            patterns = tuple(sorted({topic.pattern for spec in specs for topic in spec.options.topics}))
            if patterns:
                found[name] = patterns
        return found

    def comes_back(self, agent: str) -> bool:
        """Return whether an agent that is not there may come back."""
        return self._supervisor.roster.comes_back(agent)

    async def stop(self, agents: Sequence[str]) -> None:
        """Stop agents that have lost their names to another node."""
        known = [agent for agent in agents if agent in self._supervisor.roster.agents]
        if known:
            await self._supervisor.stop(known, _STOP_WITHIN, forget=not self._shares_states)
            await self._release_empty({agent.rpartition("/")[0] for agent in known})

    @property
    def bus(self) -> Bus:
        """The bus of its own process, which its program calls agents on."""
        return self._session.bus

    # agents that are placed by order ----------------------------------------------------------------------------------
    def next_number(self, group: str) -> int:
        """Return the number of the next agent of a group."""
        known = self._supervisor.roster.groups.get(group)
        return known.next_number if known is not None else 0

    def has_group(self, group: str) -> bool:
        """Return whether there are agents of a group here. Those that are given up are there no more."""
        agents = self._supervisor.roster.agents.values()
        return any(entry.group.name == group and entry.state != "given up" for entry in agents)

    async def place(self, kind: type, order: SpawnOrder, restart: Restart, within: float, own_host: bool) -> None:
        """Make the agents of an order, all or none."""
        order = self._for_here(kind, order)
        async with self._host_for(order.group, own_host):
            await self._supervisor.place(kind, order, restart, within)

    async def take_over(self, kind: type, order: SpawnOrder, restart: Restart, own_host: bool) -> None:
        """Bring the agents of an order back, which were at a lost node: each as its restart strategy says."""
        order = self._for_here(kind, order)
        async with self._host_for(order.group, own_host):
            await self._supervisor.take_over(kind, order, restart)

    def _for_here(self, kind: type, order: SpawnOrder) -> SpawnOrder:
        """Return an order with the path under which the hosts of this node find the class."""
        return msgspec.structs.replace(order, target=path_of(kind) if self.hosts else path_here(kind))

    @asynccontextmanager
    async def _host_for(self, group: str, own_host: bool) -> AsyncIterator[None]:
        """Have a host for this group alone, if it is to have one."""
        hosts = self._supervisor.hosts
        if not own_host or any(host.reserved == group for host in hosts.all.values()):
            yield
            return
        host = await hosts.reserve(group)
        try:
            yield
        except BaseException:
            await hosts.release(host, _RELEASE_WITHIN)
            raise

    async def _release_empty(self, groups: set[str]) -> None:
        """End the hosts of their own that these groups have, where none of their agents is left."""
        hosts, roster = self._supervisor.hosts, self._supervisor.roster
        for host in [host for host in hosts.all.values() if host.reserved in groups]:
            if not roster.has_agents_of(host.reserved):
                await hosts.release(host, _RELEASE_WITHIN)

    async def order(self, verb: str, agents: Sequence[str], within: float, forget: bool | None = None) -> None:
        """Stop, restart, pause or resume agents. `forget`: whether what those that are stopped kept is removed; None:
        where no other node has it."""
        if verb == "stop":
            await self._supervisor.stop(list(agents), within, not self._shares_states if forget is None else forget)
            await self._release_empty({agent.rpartition("/")[0] for agent in agents})
        elif verb == "restart":
            await self._supervisor.restart(list(agents), "asked for", within)
        else:
            await self._supervisor.order(verb, agents, within)

    async def forget(self, agents: Sequence[str]) -> None:
        """Remove what agents kept that are not here, and will not come back anywhere."""
        if self._supervisor.kept is not None and self._shares_states:
            await self._supervisor.kept.remove(agents)

    @property
    def _shares_states(self) -> bool:
        """Whether later ones elsewhere have what agents kept here; what only this node has would be an earlier state
        when an agent comes back here."""
        return self._supervisor.kept is not None and self._supervisor.kept.shared

    def happened(self, event: SupervisorEvent) -> None:
        """Take an event."""
        self._events.add(event)

    def dead_letter(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes) -> None:
        """Take a message that no agent has taken."""
        self._session.dead_letters.add(to, handler, sender, code, reason, payload)
