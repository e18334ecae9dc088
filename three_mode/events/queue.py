"""Bounded queue of one reader: it never makes anybody wait who puts something in, and says what was lost."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from three_mode.errors import ConfigurationError

T = TypeVar("T")


class EventQueue(Generic[T]):
    """At most `size` items. A full queue lets the oldest go, and gives `gap(count)` before the next one."""

    __slots__ = ("_error", "_gap", "_items", "_lost", "_process", "_size", "_waiting", "dropped", "ended")

    def __init__(self, size: int, gap: Callable[[int], T]) -> None:
        self._items: deque[T] = deque()
        self._size, self._gap = size, gap
        self._lost = 0  # since the last gap that was given
        self._process = os.getpid()
        self._waiting: asyncio.Future[None] | None = None
        self._error: ConfigurationError | None = None
        self.dropped = 0
        self.ended = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Put in an item; False where an older one had to go for it."""
        fits = len(self._items) < self._size
        if not fits:
            self._items.popleft()
            self._lost += 1
            self.dropped += 1
        self._items.append(item)
        if self._waiting is not None:
            self._wake()
        return fits

    def lose(self, count: int) -> None:
        """Count items that were taken out and got lost on their way."""
        self._lost += count
        self.dropped += count

    def end(self) -> None:
        """Put in nothing more: the reader gets what is there, and then the end."""
        self.ended = True
        if self._waiting is not None:
            self._wake()

    def take(self) -> list[T]:
        """All that is here, a gap first where there is one."""
        items = list(self._items)
        self._items.clear()
        return self._with_gap(items)

    async def get(self) -> T | None:
        """The next item, or the gap before it; None at the end. One reader at a time."""
        await self._until_something()
        if self._lost:
            lost, self._lost = self._lost, 0
            return self._gap(lost)
        return self._items.popleft() if self._items else None

    async def batch(self) -> list[T]:
        """All that has come by now, and at least one item; [] at the end."""
        await self._until_something()
        return self.take()

    def _with_gap(self, items: list[T]) -> list[T]:
        if self._lost:
            lost, self._lost = self._lost, 0
            return [self._gap(lost), *items]
        return items

    async def _until_something(self) -> None:
        if os.getpid() != self._process:
            raise ConfigurationError(
                "these events are of the process that this one was forked from",
                hint="make a connection, and ask it for its events, in the new process",
            )
        while not self._items:
            if self._error is not None:
                raise self._error
            if self.ended:
                return
            if self._waiting is not None and not self._waiting.done():
                raise ConfigurationError("somebody reads these events already", hint="ask for events() once more")
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def _wake(self) -> None:
        """Wake the reader. One on another loop than the calls would be woken from a foreign thread: it gets an
        error."""
        waiting = self._waiting
        if waiting is None or waiting.done():
            return
        loop = waiting.get_loop()
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:  # `end`, of a program that has left its loop
            here = None
        if here is loop:
            waiting.set_result(None)
            return
        if here is not None and not self.ended:
            self._error = ConfigurationError(
                "these events are of calls on another event loop",
                hint="read them on the loop that makes the calls, or with three_mode.sync",
            )
            self._items.clear()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set, waiting)


def _set(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
