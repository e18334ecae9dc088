"""An eventfd heard through the event loop's own epoll, by edges: nothing stands between, and nobody has to silence it.

An epoll within an epoll costs every wake-up a system call, and the kernel a second walk from the one to the other. uvloop
says what its epoll is; it watches by levels, though, so what it watches for us is turned to edges once it is in there.
"""

import asyncio
import os
import select
from collections.abc import Callable

_TURNS = 3  # of the loop, after which its epoll has what it was told to watch


class EdgeWatch:
    """`heard()` at each ring of `fd`. `sure()` is called once that is so: until then somebody else has to listen too."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        heard: Callable[[], object],
        sure: Callable[[], object],
    ) -> None:
        self._loop, self._sure = loop, sure
        self._fd = os.dup(fd)  # a loop knows a descriptor once, and two members may live on one loop
        loop.add_reader(self._fd, heard)
        loop.call_soon(self._by_edges, _TURNS)

    def _by_edges(self, turns: int) -> None:
        if self._fd < 0:
            return
        try:
            with select.epoll.fromfd(os.dup(_epoll_of(self._loop))) as epoll:
                epoll.modify(self._fd, select.EPOLLIN | select.EPOLLET)
        except OSError:
            if turns:
                self._loop.call_soon(self._by_edges, turns - 1)
            else:
                self.close()  # a level would ring for ever
        else:
            self._sure()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def supports_edges(loop: asyncio.AbstractEventLoop) -> bool:
    return hasattr(loop, "_get_backend_id")


def _epoll_of(loop: asyncio.AbstractEventLoop) -> int:
    descriptor: int = loop._get_backend_id()  # type: ignore[attr-defined]  # of uvloop
    return descriptor
