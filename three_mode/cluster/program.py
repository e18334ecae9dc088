"""A program on a cluster: it joins with a bus of its own that has no hosts and no agents, and a gateway."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.supervisor.hosts import new_bus_name
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.agents.wire.orders import NodeReport, SpawnOrder
from three_mode.cluster.gateway import Gateway
from three_mode.cluster.options import Cluster
from three_mode.errors import ConfigurationError, ModeUnavailable
from transports.bus import Bus, BusOptions


class ProgramNode:
    """Membership of a program in the cluster `name`: its bus and its gateway. It is the home that a gateway asks."""

    def __init__(self, name: str, cluster: Any, options: BusOptions | None) -> None:
        given = Cluster.of(cluster)
        if given.name and given.name != name:
            raise ConfigurationError(
                f"the cluster is {name!r} for join, and {given.name!r} in its options", hint="leave Cluster(name=) out"
            )
        node = given.node or f"program-{os.getpid()}-{secrets.token_hex(4)}"
        self._cluster = msgspec.structs.replace(given, name=name, node=node, labels=(), allow=())
        self._cluster.names(name)  # for its error
        self._options = replace(options or BusOptions(label="joined"), create=True)
        self._bus_name = new_bus_name()
        self._gateway: Gateway | None = None
        self._bus: Bus | None = None
        self.letters = DeadLetters()
        """Messages that did not reach their agents on other nodes."""

    async def open(self) -> Bus:
        """Join; return the bus, on which the agents of all nodes can be called."""
        bus = self._bus = await Bus.join(self._bus_name, self._options)
        try:
            self._gateway = Gateway(self._cluster, self._bus_name, self._options, self, "program")
            await self._gateway.open()
            if not await self._gateway.meet(self._cluster.connect_within):
                raise ModeUnavailable(
                    f"no node of a cluster {self._cluster.name!r} answers at {self._cluster.nats.shown}",
                    hint="start one with this name first: Orchestrator(cluster=..., name=...)",
                )
        except BaseException:
            await self.close()
            await bus.leave()
            raise
        return bus

    async def close(self) -> None:
        """Leave the cluster: the nodes are told."""
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.close()

    def nodes(self) -> list[NodeReport]:
        """Return this program and the nodes that are known."""
        assert self._gateway is not None
        return self._gateway.nodes()

    # what a gateway asks of a home ------------------------------------------------------------------------------------
    hosts = 0

    @property
    def bus(self) -> Bus:
        """The bus of the program, which nobody else is on."""
        assert self._bus is not None
        return self._bus

    def next_number(self, group: str) -> int:
        """Return the first number: there are no groups here."""
        return 0

    def has_group(self, group: str) -> bool:
        """Return False: there are no agents here."""
        return False

    async def place(self, kind: type, order: SpawnOrder, restart: Restart, within: float, own_host: bool) -> None:
        """Refuse: a program runs no agents of the cluster."""
        raise _no_hosts()

    async def take_over(self, kind: type, order: SpawnOrder, restart: Restart, own_host: bool) -> None:
        """Refuse: a program runs no agents of the cluster."""
        raise _no_hosts()

    async def order(self, verb: str, agents: Sequence[str], within: float, forget: bool | None = None) -> None:
        """Refuse: a program runs no agents of the cluster."""
        raise _no_hosts()

    async def forget(self, agents: Sequence[str]) -> None:
        """Forget nothing: nothing is kept here."""

    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: no agent here listens."""
        return {}

    def comes_back(self, agent: str) -> bool:
        """Return False: there are no agents here."""
        return False

    async def stop(self, agents: Sequence[str]) -> None:
        """Stop nothing."""

    def happened(self, event: SupervisorEvent) -> None:
        """Let an event pass: nobody supervises anything here."""

    def dead_letter(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes) -> None:
        """Keep a message that no agent has taken."""
        self.letters.add(to, handler, sender, code, reason, payload)


def _no_hosts() -> ConfigurationError:
    return ConfigurationError("a program that joined a cluster has no hosts", hint="spawn from an Orchestrator")
