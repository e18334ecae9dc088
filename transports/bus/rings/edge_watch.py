"""Watch an eventfd through the event loop's own epoll, edge-triggered, so that no read is needed to silence it.

An epoll within an epoll costs every wake-up a system call, and the kernel a second walk from one to the other. uvloop
gives access to its epoll. It watches level-triggered, though, so the descriptor is changed to edges once it is in that
epoll.
"""

import asyncio
import os
import select
from collections.abc import Callable

_TURNS = 3  # of the loop, after which a new descriptor is in its epoll


class EdgeWatch:
    """Edge-triggered watch of one eventfd: calls `rung()` at each ring.

    `ready()` is called once it works; until then another watch of the descriptor is needed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        rung: Callable[[], object],
        ready: Callable[[], object],
    ) -> None:
        self._loop, self._ready = loop, ready
        self._fd = os.dup(fd)  # a loop takes a descriptor once, and two members may share a loop
        loop.add_reader(self._fd, rung)
        loop.call_soon(self._use_edges, _TURNS)

    def _use_edges(self, turns: int) -> None:
        if self._fd < 0:
            return
        try:
            with select.epoll.fromfd(os.dup(_epoll_of(self._loop))) as epoll:
                epoll.modify(self._fd, select.EPOLLIN | select.EPOLLET)
        except OSError:
            if turns:
                self._loop.call_soon(self._use_edges, turns - 1)
            else:
                self.close()  # level-triggered, it would ring for ever
        else:
            self._ready()

    def close(self) -> None:
        """End the watch."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def supports_edges(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the loop gives access to its epoll, as uvloop does."""
    return hasattr(loop, "_get_backend_id")


def _epoll_of(loop: asyncio.AbstractEventLoop) -> int:
    descriptor: int = loop._get_backend_id()  # type: ignore[attr-defined]  # of uvloop
    return descriptor
