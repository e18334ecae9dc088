"""Connectors: connect a member to the registry, or make it the host. Here over a Unix socket; over tcp in zeromq/."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from transports.bus.events import MemberInfo
from transports.bus.registry.channel import UnixChannel
from transports.bus.registry.election import HostingRight, RegistryPaths, connect_or_host, try_host
from transports.bus.registry.places import leave_place
from transports.bus.registry.seats import Shards
from transports.bus.registry.server import RegistryServer
from transports.bus.registry.state import RegistryState


class RegistryConnection(Protocol):
    """Connection of a member to the registry; `UnixChannel` says what each method does."""

    scarce: bool
    """Whether the message that was received last came without its descriptors."""

    @property
    def pending(self) -> bool: ...
    def fileno(self) -> int: ...
    def send(self, data: bytes, fds: Sequence[int] = ()) -> None: ...
    def flush(self) -> None: ...
    def receive(self) -> Iterator[tuple[bytes, list[int]]]: ...
    def close(self) -> None: ...
    def close_after_fork(self) -> None: ...


class HostedRegistry(Protocol):
    """The registry, in a thread of the process that hosts it; `RegistryServer` says what each method does."""

    state: RegistryState
    """Rules and contents of the registry."""

    @property
    def alone(self) -> bool: ...

    dropped: int
    """Connections that were ended for what they sent."""

    def start(self, known: Sequence[MemberInfo], after_a_death: bool) -> None: ...
    def stop(self) -> None: ...
    def close_after_fork(self) -> None: ...


class Connector(Protocol):
    """Way of one member to the registry of its bus."""

    sees_processes: bool
    """Whether the members' process ids are those of this machine."""

    async def connect(
        self, create: bool, deadline: float, host: Callable[[Any], None], newcomer: bool
    ) -> RegistryConnection:
        """Connect to the registry. If this process is to host it, call `host(right)` first.

        `newcomer`: this process was no member of the registry before.
        """
        ...

    def serve(self, right: Any, carrier: str, layout: int, shards: Shards) -> HostedRegistry:
        """Make the registry, for the holder of the right to host."""
        ...

    def after_a_death(self, right: Any) -> bool:
        """Return whether a registry died before, so that members may come back."""
        ...

    def release(self, right: Any, alone: bool) -> None:
        """Give back the right to host. `alone`: there is no other member on the bus."""
        ...

    def release_unhosted(self) -> None:
        """Remove what a registry that ended has left, if nobody hosts the next one: no other member is on the bus."""
        ...

    def leave_place(self, slot: int, member: str) -> None:
        """Free the slot of this member, whether there is a registry or not."""
        ...


class UnixConnector:
    """Way to the registry of a bus on this machine. JoinFailed for a name that no bus may have."""

    sees_processes = True

    def __init__(self, bus: str) -> None:
        self._bus = bus
        self._paths = RegistryPaths.of(bus)

    async def connect(
        self, create: bool, deadline: float, host: Callable[[HostingRight], None], newcomer: bool
    ) -> UnixChannel:
        """Connect to the registry's socket, or bind it."""
        return UnixChannel(await connect_or_host(self._paths, create, deadline, host, newcomer))

    def serve(self, right: HostingRight, carrier: str, layout: int, shards: Shards) -> RegistryServer:
        """Make the registry behind the socket."""
        return RegistryServer(right, self._bus, carrier, layout, shards)

    def after_a_death(self, right: HostingRight) -> bool:
        """Return whether the socket of a dead registry was found."""
        return right.after_a_death

    def release(self, right: HostingRight, alone: bool) -> None:
        """Free the lock, and remove the registry's files if no other member is left."""
        right.release(remove=alone)

    def leave_place(self, slot: int, member: str) -> None:
        """Free the slot of this member in the table of the next registry."""
        leave_place(self._paths.lock, slot, member)

    def release_unhosted(self) -> None:
        """Remove the files of a registry that ended, if nobody hosts the next one."""
        right = try_host(self._paths) if self._paths.lock.exists() else None
        if right is not None:
            right.listener.close()
            right.release(remove=True)
