"""`Cluster`: which cluster a node belongs to, and how it reaches it."""

import re
import socket
from typing import Any

from three_mode.cluster.core.frames import Offer
from three_mode.cluster.core.timing import NodeTiming
from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from transports.nats import NatsError, NatsOptions

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PATH = re.compile(r"(?!\d)\w+(\.(?!\d)\w+)*")
_ALONE = ("keep", "pause", "stop")


class _Address(FrozenOptions, frozen=True, kw_only=False):
    url: str
    """Address of a NATS server, `nats://10.0.0.1:4222` or `tls://...`; several with commas between them."""


class Cluster(_Address, frozen=True, kw_only=True):
    """Cluster of several nodes, whose agents call each other by name: `Orchestrator(cluster=Cluster("nats://..."))`.

    Secrets come from files. Times are in seconds.
    """

    name: str = ""
    """Name of the cluster, the same on all its nodes; by default the name of the orchestrator's bus."""
    node: str = ""
    """Name of this node, of its own in the cluster; by default the name of the bus where the cluster has another one,
    else that of the machine."""
    tls: str = ""
    """File with the certificates that sign the server's (PEM); empty: those of the system."""
    certificate: str = ""
    """File with a certificate of this node, where the server asks for one."""
    key: str = ""
    """File with the key of that certificate."""
    credentials: str = ""
    """File with a user's credentials (`.creds`)."""
    nkey: str = ""
    """File with the seed of an NKey."""
    token: str = ""
    """File with a token."""
    connect_within: float = 5.0
    """Seconds for the first connection to a server; later it is looked for again for ever."""
    timing: NodeTiming = NodeTiming()
    """When another node is suspected, lost and forgotten."""
    labels: tuple[str, ...] = ()
    """What this node is one of: `spawn(..., on="gpu")` finds it by a label, or by its name."""
    allow: tuple[str, ...] = ()
    """Import paths below which this node starts classes that other nodes order: `("mypackage",)`. None: it takes no
    orders."""
    alone: str = "keep"
    """What becomes of agents that another node has placed here, once that one is lost: `keep`, `pause` or `stop`."""

    @classmethod
    def of(cls, given: Any) -> "Cluster":
        """Return the options that `Orchestrator(cluster=...)` was given: an address, or a Cluster."""
        if isinstance(given, str):
            given = cls(given)
        if not isinstance(given, cls) or not isinstance(given.url, str):
            raise ConfigurationError(
                f"cluster is the address of a NATS server, or a Cluster, not a {type(given).__name__}",
                hint='Orchestrator(cluster="nats://10.0.0.1:4222")',
            )
        for what, name in (("cluster", given.name), ("node", given.node)):
            if name and not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} is no name for a {what}", hint="at most 64 letters, digits, - and _"
                )
        several: tuple[tuple[str, Any], ...] = (("labels", given.labels), ("allow", given.allow))
        for what, paths in several:
            if not isinstance(paths, tuple | list) or not all(isinstance(path, str) for path in paths):
                raise ConfigurationError(f"{what} are several texts, not {paths!r}", hint=f'{what}=("gpu",)')
        for label in given.labels:
            if not _NAME.fullmatch(label):
                raise ConfigurationError(f"{label!r} is no label", hint="at most 64 letters, digits, - and _")
        for path in given.allow:
            if not _PATH.fullmatch(path):
                raise ConfigurationError(f"{path!r} is no import path", hint="as in mypackage.agents")
        if given.alone not in _ALONE:
            raise ConfigurationError(f"alone is one of {', '.join(_ALONE)}, not {given.alone!r}")
        try:
            given.nats.servers  # noqa: B018  # for its error
        except NatsError as error:
            raise ConfigurationError(str(error), hint="nats://10.0.0.1:4222, or tls://...") from None
        return given

    @property
    def nats(self) -> NatsOptions:
        """The options of the connection to NATS."""
        return NatsOptions(
            self.url,
            self.tls,
            self.certificate,
            self.key,
            self.credentials,
            self.nkey,
            self.token,
            self.connect_within,
        )

    def offer(self, hosts: int) -> Offer:
        """Return what this node offers to those that place agents; 0 hosts are this process itself."""
        return Offer(tuple(self.labels), max(1, hosts), tuple(self.allow))

    def names(self, bus: str) -> tuple[str, str]:
        """Return the names of the cluster and of this node, on a bus of that name."""
        cluster = self.name or bus
        if not _NAME.fullmatch(cluster):
            raise ConfigurationError(
                f"{cluster!r} is no name for a cluster",
                hint="Orchestrator(name='city', cluster=...): at most 64 letters, digits, - and _",
            )
        return cluster, self.node or (_name_of(bus) if cluster != bus else machine_name())

    def __repr__(self) -> str:
        return f"Cluster({self.nats.shown!r}, name={self.name!r}, node={self.node!r})"


def machine_name() -> str:
    """Return the name of this machine, as a node may have it."""
    return _name_of(socket.gethostname())


def _name_of(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)[:64] or "node"
