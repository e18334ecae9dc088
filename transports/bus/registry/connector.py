"""How a member gets to the registry, or becomes its host: by a Unix socket here, by tcp elsewhere (`zeromq/tcp_door.py`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from transports.bus.events import MemberInfo
from transports.bus.registry.channel import UnixChannel
from transports.bus.registry.election import HostingRight, RegistryPaths, connect_or_host
from transports.bus.registry.server import RegistryServer
from transports.bus.registry.state import RegistryState, Shards


class RegistryConnection(Protocol):
    """A connection to the registry; `UnixChannel` is one."""

    @property
    def pending(self) -> bool: ...
    def fileno(self) -> int: ...
    def send(self, data: bytes, fds: Sequence[int] = ()) -> None: ...
    def flush(self) -> None: ...
    def receive(self) -> Iterator[tuple[bytes, list[int]]]: ...
    def close(self) -> None: ...
    def close_after_fork(self) -> None: ...


class HostedRegistry(Protocol):
    """The registry, while this process hosts it."""

    state: RegistryState
    dropped: int

    def start(self, known: Sequence[MemberInfo], after_a_death: bool) -> None: ...
    def stop(self) -> None: ...
    def close_after_fork(self) -> None: ...


class Connector(Protocol):
    async def enter(self, create: bool, deadline: float, host: Callable[[Any], None]) -> RegistryConnection:
        """A line to the registry. `host(right)` is called first if this process is to serve it."""
        ...

    def serve(self, right: Any, carrier: str, layout: int, shards: Shards) -> HostedRegistry: ...

    def after_a_death(self, right: Any) -> bool:
        """Whether a registry died here, so that members may be coming back."""
        ...

    def give_up(self, right: Any, alone: bool) -> None:
        """The right to host ends. `alone`: nobody else is on the bus."""
        ...


class UnixConnector:
    def __init__(self, bus: str) -> None:
        self._bus = bus
        self._place = RegistryPaths.of(bus)

    async def enter(self, create: bool, deadline: float, host: Callable[[HostingRight], None]) -> UnixChannel:
        return UnixChannel(await connect_or_host(self._place, create, deadline, host))

    def serve(self, right: HostingRight, carrier: str, layout: int, shards: Shards) -> RegistryServer:
        return RegistryServer(right.listener, self._bus, carrier, layout, shards)

    def after_a_death(self, right: HostingRight) -> bool:
        return right.after_a_death

    def give_up(self, right: HostingRight, alone: bool) -> None:
        if alone:  # else the file stays: it tells the next host that others are coming back
            self._place.socket.unlink(missing_ok=True)
        os.close(right.lock)
