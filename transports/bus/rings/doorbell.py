"""The doorbell: eventfds that wake this member, and how its event loop hears them.

    the shard's eventfd (rung by publishers, shared by 64 members) -+-> the loop's own epoll (see ear.py), or, where
    this member's eventfd (rung by whoever has a pair with it) -----+   that cannot be, the private epoll
    pidfds of the members it has a pair with -------------------------> private epoll -> the loop's own epoll

All edge-triggered: one write wakes every watcher, and nobody has to read the eventfd to silence it. The private epoll is
silenced by looking at it, which `Pump.woken` does. asyncio and uvloop watch an epoll descriptor like any other.
"""

import asyncio
import os
import select
from collections.abc import Callable, Iterable

from transports.bus.errors import BadFrame
from transports.bus.rings.ear import Ear, can_hear
from transports.bus.rings.native import Pump, is_doorbell, ring


def expect_doorbell(fd: int) -> None:
    """BadFrame, unless another's descriptor is an eventfd."""
    if not is_doorbell(fd):
        raise BadFrame("a doorbell that is no eventfd")


class Doorbell:
    def __init__(self) -> None:
        self.own = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.shard = -1
        self._epoll = select.epoll(sizehint=-1, flags=select.EPOLL_CLOEXEC)
        self._fd = self._epoll.fileno()
        self._deaths: dict[int, str] = {}  # pidfd -> member
        self._ears: dict[int, Ear] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung: Callable[[], None]
        self._watch(self.own)

    def fileno(self) -> int:
        return self._fd

    def wakes(self, pump: Pump) -> None:
        """From now on, whenever it rings."""
        self._loop, self._rung = asyncio.get_running_loop(), pump.rung
        self._loop.add_reader(self._fd, pump.woken)
        self._listen_directly(self.own)
        if self.shard >= 0:
            self._listen_directly(self.shard)

    def watch_shard(self, fd: int) -> None:
        """Be woken by broadcasts through `fd`; -1: no longer."""
        if self.shard >= 0:
            self._forget(self.shard)
        self.shard = fd
        if fd >= 0:
            self._watch(fd)
            self._listen_directly(fd)

    def _watch(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def _listen_directly(self, fd: int) -> None:
        if self._loop is not None and can_hear(self._loop):
            self._ears[fd] = Ear(self._loop, fd, self._rung, lambda: self._epoll.unregister(fd))

    def _forget(self, fd: int) -> None:
        ear = self._ears.pop(fd, None)
        if ear is not None:
            ear.close()
        try:
            self._epoll.unregister(fd)
        except FileNotFoundError:
            pass  # the loop heard it itself

    def watch_death(self, pidfd: int, member: str) -> None:
        """Own `pidfd` and tell of the death of its process. BadFrame for what cannot tell."""
        try:
            self._watch(pidfd)
        except OSError as error:
            raise BadFrame(f"no pidfd of member {member}: {error}") from None
        self._deaths[pidfd] = member

    def forget_death(self, pidfd: int) -> None:
        if self._deaths.pop(pidfd, None) is not None:
            self._epoll.unregister(pidfd)
            os.close(pidfd)

    def died(self, fds: Iterable[int]) -> list[str]:
        """The members whose pidfds these are."""
        return [self._deaths[fd] for fd in fds if fd in self._deaths]

    def ring(self) -> None:
        """Wake this member itself, from any thread."""
        ring(self.own)

    def stop(self) -> None:
        """Nobody is woken any more; it may still be rung."""
        for ear in self._ears.values():
            ear.close()
        self._ears.clear()
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None

    def close(self) -> None:
        self.stop()
        self._epoll.close()
        os.close(self.own)
        for fd in self._deaths:
            os.close(fd)
        self._deaths.clear()
