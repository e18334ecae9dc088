"""The doorbell: two eventfds behind one private epoll, which the event loop watches.

    the shard's eventfd (rung by publishers, shared by 64 members) -+
    this member's eventfd (rung by whoever has a pair with it) -----+-> private epoll -> the loop's own epoll
    pidfds of the members it has a pair with ----------------------+

All edge-triggered: one write wakes every watcher, and nobody has to read the eventfd to silence it: `Pump.woken` looks at
the epoll, which does. asyncio and uvloop watch an epoll descriptor like any other.
"""

import os
import select
from collections.abc import Iterable


class Doorbell:
    def __init__(self) -> None:
        self.own = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll(sizehint=-1, flags=select.EPOLL_CLOEXEC)
        self._epoll.register(self.own, select.EPOLLIN | select.EPOLLET)
        self._fd = self._epoll.fileno()
        self._deaths: dict[int, str] = {}  # pidfd -> member
        self.shard = -1

    def fileno(self) -> int:
        return self._fd

    def watch_shard(self, fd: int) -> None:
        """Be woken by broadcasts through `fd`; -1: no longer."""
        if self.shard >= 0:
            self._epoll.unregister(self.shard)
        self.shard = fd
        if fd >= 0:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def watch_death(self, pidfd: int, member: str) -> None:
        """Own `pidfd` and tell of the death of its process."""
        self._deaths[pidfd] = member
        self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLET)

    def forget_death(self, pidfd: int) -> None:
        if self._deaths.pop(pidfd, None) is not None:
            self._epoll.unregister(pidfd)
            os.close(pidfd)

    def died(self, fds: Iterable[int]) -> list[str]:
        """The members whose pidfds these are."""
        return [self._deaths[fd] for fd in fds if fd in self._deaths]

    def ring(self) -> None:
        """Wake this member itself, from any thread."""
        os.eventfd_write(self.own, 1)

    def close(self) -> None:
        self._epoll.close()
        os.close(self.own)
        for fd in self._deaths:
            os.close(fd)
        self._deaths.clear()
