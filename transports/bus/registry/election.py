"""Election of the registry's host: the first process to bind its socket, and the next one when that process dies.

    connect -> a process listens     -> join as a member
            -> none, the lock is free -> bind, serve in a thread, connect to oneself
            -> none, the lock is held -> another process is about to bind: try again

The lock is a flock: the kernel frees it with its process. The socket file of a dead registry stays behind, and tells
the next host that there may be members to wait for.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transports.bus.errors import JoinFailed, NoSuchBus
from transports.bus.events import MemberInfo
from transports.bus.registry.channel import peer_credentials
from transports.bus.registry.places import read_places

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SETTLED = 5.0  # seconds after which a socket that nobody listens on is dead
_PRECEDENCE = 0.5  # seconds in which the members of a registry that died may host the next one before a newcomer
BACKLOG = 1024  # connections that wait to be accepted


def check_bus_name(name: str) -> str:
    """Return the name of a bus, or raise JoinFailed if it is not well formed."""
    if not _NAME.fullmatch(name):
        raise JoinFailed(
            f"{name!r} is no name of a bus: up to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit"
        )
    return name


def runtime_directory() -> Path:
    """Return the directory of the sockets, which only this user may enter; make it if needed."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "three-mode" if base else Path(tempfile.gettempdir()) / f"three-mode-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as error:
        raise JoinFailed(f"the socket directory {path} cannot be made: {error}") from None
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise JoinFailed(f"{path} must be a directory of this user that nobody else may enter (mode 0700)")
    return path


@dataclass(frozen=True, slots=True)
class RegistryPaths:
    """Files of the registry of one bus: its socket and its lock."""

    socket: Path
    lock: Path

    @classmethod
    def of(cls, bus: str) -> "RegistryPaths":
        """Return the paths for a bus; JoinFailed if its name is not well formed or too long."""
        directory = runtime_directory()
        paths = cls(directory / f"{check_bus_name(bus)}.sock", directory / f"{bus}.lock")
        if len(os.fsencode(paths.socket)) > 107:
            raise JoinFailed(f"the socket path {paths.socket} is longer than the 107 bytes that Unix sockets allow")
        return paths


def running_buses() -> list[str]:
    """Return the names of the buses of this user that run on this machine now."""
    found = []
    for path in sorted(runtime_directory().glob("*.sock")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                continue
            found.append(path.stem)
    return found


def remove_if_dead(path: Path) -> None:
    """Remove a socket that no process listens on any more: its process was killed."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def _remove_dead_sockets(paths: RegistryPaths) -> None:
    """Remove what members that were killed have left of this bus, besides the registry's own files."""
    for path in paths.socket.parent.glob(f"{paths.socket.stem}.*.[pd]"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _SETTLED:  # a younger one may be about to listen
                remove_if_dead(path)


@dataclass(slots=True)
class HostingRight:
    """Right to host the registry of a bus."""

    listener: socket.socket
    """Bound, listening socket."""
    lock: int
    """Descriptor that holds the lock."""
    after_a_death: bool
    """Whether the socket of a dead registry was found."""
    paths: RegistryPaths
    """Files of the registry."""
    members: list[MemberInfo]
    """Members of the registry before, whose processes live: see places.py."""

    def release(self, remove: bool) -> None:
        """Free the lock, if it is not free yet. `remove`: remove the socket and the lock, for no other member is left.

        Otherwise the socket stays: it tells the next host that members will come back.
        """
        lock, self.lock = self.lock, -1
        if lock >= 0:
            if remove:
                self.paths.socket.unlink(missing_ok=True)
                self.paths.lock.unlink(missing_ok=True)  # while it is held: see try_host
            os.close(lock)


def try_connect(paths: RegistryPaths) -> socket.socket | None:
    """Connect to the registry, or return None if no process listens."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise JoinFailed(f"no socket can be made: {error}") from None
    try:
        sock.connect(str(paths.socket))
        _, uid = peer_credentials(sock)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise JoinFailed(f"the registry at {paths.socket} cannot be reached: {error}") from None
    if uid not in (os.getuid(), 0):
        sock.close()
        raise JoinFailed(f"the registry at {paths.socket} belongs to user {uid}, not to this one")
    return sock


def try_host(paths: RegistryPaths) -> HostingRight | None:
    """Bind the registry's socket, or return None if another process holds the lock."""
    try:
        lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise JoinFailed(f"the registry's lock {paths.lock} cannot be opened: {error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino != paths.lock.stat().st_ino:
            raise FileNotFoundError(paths.lock)  # its last holder removed it meanwhile: the lock is another file
    except OSError:
        os.close(lock)
        return None
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        os.close(lock)
        raise JoinFailed(f"no socket can be made: {error}") from None
    try:
        after_a_death = paths.socket.exists()
        if after_a_death:
            _remove_dead_sockets(paths)
        paths.socket.unlink(missing_ok=True)
        listener.bind(str(paths.socket))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        os.close(lock)
        raise JoinFailed(f"the registry's socket {paths.socket} cannot be bound: {error}") from None
    return HostingRight(listener, lock, after_a_death, paths, read_places(lock))


async def connect_or_host(
    paths: RegistryPaths, create: bool, deadline: float, host: Callable[[HostingRight], None], newcomer: bool = True
) -> socket.socket:
    """Connect to the registry, and call `host` first if this process is to serve it.

    A `newcomer` lets the members of a registry that died go first for a moment: they know each other.
    """
    patient_until = time.monotonic() + _PRECEDENCE if newcomer else 0.0
    while True:
        sock = try_connect(paths)
        if sock is not None:
            return sock
        if create and paths.socket.exists() and time.monotonic() < patient_until:
            pass
        elif create:
            holder = try_host(paths)
            if holder is not None:
                try:
                    host(holder)
                except BaseException as error:
                    holder.listener.close()
                    holder.release(remove=False)
                    if isinstance(error, OSError):
                        raise JoinFailed(f"the registry cannot be hosted here: {error}") from None
                    raise
                continue
        elif not paths.lock.exists() or time.monotonic() >= deadline:
            raise NoSuchBus(f"nobody hosts the bus {paths.socket.stem!r}: start it first, or join with create=True")
        if time.monotonic() >= deadline:
            raise JoinFailed(
                f"the registry of {paths.socket.stem!r} did not come up in time: its lock is held, nobody listens"
            )
        await asyncio.sleep(random.uniform(0.001, 0.01))
