"""Looks whether the clients of answers that take long are still there, so that nothing works for nobody.

Watching takes a task, which is more than most answers of an agent take, and even a timer for each answer costs more than
reading its request does. So there is one timer for all, which runs while any answer is being made: one that it finds for the
second time gets a task that watches its client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

# Seconds between two looks: an answer has between one and two of them before its client is watched.
EVERY = 0.1

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client went away: there is nobody to answer."""


class Watch:
    """All answers of one endpoint that are being made now."""

    __slots__ = ("_new", "_seen", "_ticking", "loop")

    def __init__(self) -> None:
        self._new: set[Watched | Limited] = set()
        self._seen: set[Watched | Limited] = set()
        self._ticking = False
        self.loop: asyncio.AbstractEventLoop | None = (
            None  # of the first answer; to ask for it is a system call
        )

    def __len__(self) -> int:
        return len(self._new) + len(self._seen)

    def add(self, one: "Watched | Limited") -> None:
        self._new.add(one)
        if not self._ticking:
            self._ticking = True
            self.loop = asyncio.get_running_loop()
            self.loop.call_later(EVERY, self._look)

    def discard(self, one: "Watched | Limited") -> None:
        self._new.discard(one)
        self._seen.discard(one)

    def _look(self) -> None:
        for one in self._seen:
            one.begin()
        self._seen, self._new = self._new, set()
        self._ticking = bool(self._seen)
        if self._ticking:
            asyncio.get_running_loop().call_later(EVERY, self._look)


class Watched:
    """A block of the current task that ends with `Disconnected` when the client has gone."""

    __slots__ = ("_left", "_receive", "_task", "_watch", "_watching")

    def __init__(self, watch: Watch, receive: Receive) -> None:
        self._watch, self._receive = watch, receive
        self._left = False
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task(self._watch.loop)
        assert task is not None
        self._task = task
        self._watch.add(self)

    def begin(self) -> None:
        self._watching = asyncio.create_task(self._look_on())

    async def _look_on(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if self._watching is not None:
            self._watching.cancel()
        if kind is asyncio.CancelledError and self._left and not self._task.uncancel():
            raise Disconnected from None


class Limited:
    """A block of the current task that ends with `TimeoutError` at the first look after its time."""

    __slots__ = ("_late", "_task", "_until", "_watch")

    def __init__(self, watch: Watch, within: float) -> None:
        self._watch, self._until, self._late = watch, time.monotonic() + within, False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._watch.loop)
        assert task is not None
        self._task = task
        self._watch.add(self)

    def begin(self) -> None:
        if time.monotonic() < self._until:
            self._watch.add(self)  # for the next look
        else:
            self._late = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if kind is asyncio.CancelledError and self._late and not self._task.uncancel():
            raise TimeoutError from None
