"""The registry of a bus in a world: the real rules and the real server, turned by a loop in place of a thread.

The files through which processes elect its host are those of the machine in the world: a socket, a lock, and the table
of places.
"""

import asyncio
import selectors
from dataclasses import dataclass
from typing import Any

from three_mode.testing.world.here import simulation
from three_mode.testing.world.registry_files import RegistryFiles
from three_mode.testing.world.streams import StreamListener, StreamSelector, StreamSocket
from transports.bus.events import MemberInfo
from transports.bus.registry.election import HostingRight, check_bus_name
from transports.bus.registry.server import ENDED, RegistryServer, log


@dataclass(frozen=True, slots=True)
class _Path:
    """A file: its bus, and whether it is the socket."""

    bus: str
    files: RegistryFiles
    is_socket: bool

    @property
    def stem(self) -> str:
        return self.bus

    def __str__(self) -> str:
        return f"/world/{self.bus}.{'sock' if self.is_socket else 'lock'}"

    def exists(self) -> bool:
        return self.files.listener is not None if self.is_socket else self.files.has_lock


@dataclass(frozen=True, slots=True)
class WorldPaths:
    """Files of the registry of one bus, in place of `RegistryPaths`."""

    socket: _Path
    lock: _Path

    @classmethod
    def of(cls, bus: str) -> "WorldPaths":
        """Return the files of a bus on the machine of the process that runs."""
        world = simulation()
        files = world.registry_files(world.running_process().node, check_bus_name(bus))
        return cls(_Path(bus, files, True), _Path(bus, files, False))


class WorldRight(HostingRight):
    """Right to host the registry of a bus in a world."""

    def release(self, remove: bool) -> None:
        """Free the lock. `remove`: remove the files, for no other member is left."""
        files = self.paths.lock.files  # type: ignore[attr-defined]
        if self.lock >= 0:
            self.lock = -1
            files.locked_by = None
            if remove:
                files.listener, files.has_lock, files.places = None, False, {}


def try_connect(paths: WorldPaths) -> StreamSocket | None:
    """Connect to the registry, or return None if no process listens."""
    listener = paths.socket.files.listener
    if listener is None or listener.closed:
        return None
    return listener.connect(simulation().running_process())


def try_host(paths: WorldPaths) -> WorldRight | None:
    """Bind the registry's socket, or return None if another process holds the lock."""
    files, process = paths.lock.files, simulation().running_process()
    if files.locked_by is not None and files.locked_by.alive:
        return None
    files.locked_by, files.has_lock = process, True
    after_a_death = files.listener is not None
    listener = files.listener = StreamListener(process)
    known = [info for info in files.places.values() if process_state(info.pid)]
    return WorldRight(listener, 0, after_a_death, paths, known)  # type: ignore[arg-type]


def leave_place(path: _Path, slot: int, member: str) -> None:
    """Free the slot of a member that is about to leave: no registry may be there to do it."""
    found = path.files.places.get(slot)
    if found is not None and found.id == member:
        del path.files.places[slot]


def process_state(pid: int) -> str:
    """Return the state of a process of the world as ps shows it; "" for one that is not there."""
    world = simulation()
    process = world.processes.get(pid)
    if process is None or not process.alive:
        return ""
    return "T" if process.stopped_until > world.schedule.now else "S"


class WorldPlaces:
    """Table of the places, in the lock file."""

    def __init__(self, path: _Path) -> None:
        self._files = path.files

    def take(self, info: MemberInfo) -> None:
        self._files.places[info.slot] = MemberInfo(info.id, "", info.pid, info.slot)

    def free(self, slot: int) -> None:
        self._files.places.pop(slot, None)

    def has(self, info: MemberInfo) -> bool:
        found = self._files.places.get(info.slot)
        return found is not None and found.id == info.id

    def close(self) -> None:
        """Do nothing: it is no open file."""


class WorldRegistry(RegistryServer):
    """The registry server, which a loop of its process turns in place of a thread."""

    def _open(self) -> None:
        self._selector: Any = StreamSelector(self._soon)
        self._turning = simulation().running_process().new_loop("registry")
        self._next: asyncio.Handle | None = None
        self._over = False

    def _start_thread(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._soon()

    def _soon(self) -> None:
        """Turn as soon as the loop comes to it: something has come, or something is due."""
        if self._next is not None:
            self._next.cancel()
        self._next = self._turning.call_soon(self._go)

    def _go(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._over:
            return
        stopping = self._stopping
        try:
            self._turn(self._selector.ready(), stopping)
        except Exception:  # noqa: BLE001  # as in the thread of the real one
            log.exception(ENDED)
            stopping = True
        if stopping:
            self._over = True
            self._finish()
        elif self._selector.ready():
            self._soon()
        elif (patience := self._patience()) is not None:
            self._next = self._turning.call_later(patience, self._go)

    def stop(self) -> None:
        """End it, after the messages that members have already sent."""
        self._stopping = True
        self._go()
