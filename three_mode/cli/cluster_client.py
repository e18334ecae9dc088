"""The cluster that a command line names, and its table: what `agents` and `top` show of all nodes."""

import argparse
from types import TracebackType
from typing import Any, Self

from three_mode.agents.calling.join import join
from three_mode.agents.supervisor.control_client import ControlClient
from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import Table
from three_mode.cluster import Cluster
from three_mode.errors import ConfigurationError

_FILES = {
    "tls": "certificates that sign the server's",
    "certificate": "certificate of this side",
    "key": "key of that certificate",
    "credentials": "credentials of a user (.creds)",
    "nkey": "seed of an NKey",
    "token": "file with a token",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which cluster, and how to reach it."""
    group = parser.add_argument_group("a cluster")
    group.add_argument("--cluster", metavar="URL", help="address of its NATS server, nats://HOST:PORT or tls://...")
    group.add_argument("--name", metavar="NAME", help="its name")
    for name, what in _FILES.items():
        group.add_argument(f"--{name}", metavar="FILE", default="", help=what)


def cluster_of(options: argparse.Namespace) -> Cluster:
    """The cluster that the arguments name."""
    files = {name: getattr(options, name) for name in _FILES}
    return Cluster.of(Cluster(options.cluster, **files))


class ClusterClient:
    """Client of a whole cluster: an async context manager that joins it as a program."""

    def __init__(self, options: argparse.Namespace) -> None:
        if not options.name:
            raise ConfigurationError("a cluster is found by its name", hint="--cluster URL --name city")
        self._joined = join(options.name, cluster=cluster_of(options))

    async def __aenter__(self) -> Self:
        await self._joined.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._joined.__aexit__(kind, error, trace)

    async def table(self) -> Table:
        """Return the hosts and agents of all nodes."""
        return await self._joined.table()

    async def order(self, what: str, name: str) -> None:
        """Refuse: orders are given where the agent's orchestrator is."""
        raise ConfigurationError(f"{what} {name}: a node takes orders on its own bus alone", hint="three-mode top BUS")

    async def dead_letters(self) -> list[DeadLetter]:
        """Refuse: each node keeps its own."""
        raise ConfigurationError("each node has its own dead letters", hint="three-mode agents BUS --letters")

    async def events(self) -> list[SupervisorEvent]:
        """Refuse: each node keeps its own."""
        raise ConfigurationError("each node has its own events", hint="three-mode agents BUS --events")


def client_of(options: argparse.Namespace) -> Any:
    """The client of the bus, or of the cluster, that the arguments name."""
    if options.cluster and not options.bus:
        return ClusterClient(options)
    if not options.bus or options.cluster:
        raise ConfigurationError("a bus or a cluster is needed, and not both", hint="BUS, or --cluster URL --name city")
    return ControlClient(options.bus)
