"""Doorbell: the eventfds that wake this member, and their connection to its event loop.

    the shard's eventfd (rung by publishers, shared by 64 members) -+-> the loop's own epoll (see edge_watch.py),
    this member's eventfd (rung by members with a pair to it) ------+   or else the private epoll
    pidfds of the members it has a pair with -------------------------> private epoll -> the loop's own epoll

All are edge-triggered: one write wakes every watcher, and the eventfd need not be read to silence it. `Pump.woken`
silences the private epoll by polling it. asyncio and uvloop watch an epoll descriptor like any other.
"""

import asyncio
import os
import select
from collections.abc import Callable, Iterable

from transports.bus.errors import BadFrame
from transports.bus.rings.edge_watch import EdgeWatch, supports_edges
from transports.bus.rings.native import Pump, is_doorbell, ring


def expect_doorbell(fd: int) -> None:
    """Raise BadFrame unless the descriptor of another member is an eventfd."""
    if not is_doorbell(fd):
        raise BadFrame("a doorbell that is no eventfd")


class Doorbell:
    """Doorbell of one member. `own` is its eventfd; `shard` is the eventfd of its shard, or -1 without broadcasts."""

    def __init__(self) -> None:
        self.own = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.shard = -1
        self._epoll = select.epoll(sizehint=-1, flags=select.EPOLL_CLOEXEC)
        self._fd = self._epoll.fileno()
        self._deaths: dict[int, str] = {}  # pidfd -> member
        self._watches: dict[int, EdgeWatch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung: Callable[[], None]
        self._watch(self.own)

    def fileno(self) -> int:
        """Return the descriptor of the private epoll."""
        return self._fd

    def wakes(self, pump: Pump) -> None:
        """Wake a pump at each ring from now on."""
        self._loop, self._rung = asyncio.get_running_loop(), pump.rung
        self._loop.add_reader(self._fd, pump.woken)
        self._watch_directly(self.own)
        if self.shard >= 0:
            self._watch_directly(self.shard)

    def watch_shard(self, fd: int) -> None:
        """Let broadcasts wake this member through `fd`; -1: no longer."""
        if self.shard >= 0:
            self._forget(self.shard)
        self.shard = fd
        if fd >= 0:
            self._watch(fd)
            self._watch_directly(fd)

    def _watch(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def _watch_directly(self, fd: int) -> None:
        if self._loop is not None and supports_edges(self._loop):
            self._watches[fd] = EdgeWatch(self._loop, fd, self._rung, lambda: self._epoll.unregister(fd))

    def _forget(self, fd: int) -> None:
        watch = self._watches.pop(fd, None)
        if watch is not None:
            watch.close()
        try:
            self._epoll.unregister(fd)
        except FileNotFoundError:
            pass  # the loop watched it directly

    def watch_death(self, pidfd: int, member: str) -> None:
        """Own `pidfd`, and report the end of its process; BadFrame for a descriptor that cannot."""
        try:
            self._watch(pidfd)
        except OSError as error:
            raise BadFrame(f"no pidfd of member {member}: {error}") from None
        self._deaths[pidfd] = member

    def forget_death(self, pidfd: int) -> None:
        """Close `pidfd`, and report nothing."""
        if self._deaths.pop(pidfd, None) is not None:
            self._epoll.unregister(pidfd)
            os.close(pidfd)

    def died(self, fds: Iterable[int]) -> list[str]:
        """Return the members whose pidfds are among `fds`."""
        return [self._deaths[fd] for fd in fds if fd in self._deaths]

    def ring(self) -> None:
        """Wake this member, from any thread."""
        ring(self.own)

    def stop(self) -> None:
        """Wake the event loop no more; the bell may still be rung."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None

    def close(self) -> None:
        """Close all descriptors."""
        self.stop()
        self._epoll.close()
        os.close(self.own)
        for fd in self._deaths:
            os.close(fd)
        self._deaths.clear()
