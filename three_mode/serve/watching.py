"""Looks whether the clients of answers that take long are still there, so that nothing works for nobody.

Watching takes a task, which is more than most answers of an agent take, and even a timer for each answer costs more
than reading its request does. So there is one timer for all, which runs while any answer is being made: one that it
finds for the second time gets a task that watches its client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

# Seconds between two looks: an answer has between one and two of them before its client is watched.
EVERY = 0.1

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client went away: there is nobody to answer."""


class EventWatch:
    """All answers of one endpoint that are being made now."""

    __slots__ = ("_new", "_seen", "_ticking", "loop")

    def __init__(self) -> None:
        self._new: set[_Block] = set()
        self._seen: set[_Block] = set()
        self._ticking = False
        self.loop: asyncio.AbstractEventLoop | None = None  # of the first answer; to ask for it is a system call

    def __len__(self) -> int:
        return len(self._new) + len(self._seen)

    def add(self, one: "_Block") -> None:
        self._new.add(one)
        if not self._ticking:
            self._ticking = True
            self.loop = asyncio.get_running_loop()
            self.loop.call_later(EVERY, self._look)

    def discard(self, one: "_Block") -> None:
        self._new.discard(one)
        self._seen.discard(one)

    def _look(self) -> None:
        for one in self._seen:
            one.begin()
        self._seen, self._new = self._new, set()
        self._ticking = bool(self._seen)
        if self._ticking:
            asyncio.get_running_loop().call_later(EVERY, self._look)


class _Block:
    """A block of the current task that may be ended from outside, with an error of its own."""

    __slots__ = ("_ended", "_task", "_watch")

    def __init__(self, watch: EventWatch) -> None:
        self._watch, self._ended = watch, False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._watch.loop)
        assert task is not None
        self._task = task
        self._watch.add(self)
        return self

    def begin(self) -> None:
        """It has lasted from one look to another."""
        raise NotImplementedError

    def _end(self) -> None:
        self._ended = True
        self._task.cancel()

    def _was_ended(self, kind: type[BaseException] | None) -> bool:
        """By us, and by nobody else."""
        return kind is asyncio.CancelledError and self._ended and not self._task.uncancel()


class Watched(_Block):
    """Ends with `Disconnected` when the client has gone."""

    __slots__ = ("_receive", "_watching")

    def __init__(self, watch: EventWatch, receive: Receive) -> None:
        super().__init__(watch)
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._watching = asyncio.create_task(self._look_on())

    async def _look_on(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if self._watching is not None:
            self._watching.cancel()
        if self._was_ended(kind):
            raise Disconnected from None


class CutShort(Exception):
    """Others need what the block holds."""


class Limited(_Block):
    """Ends with `TimeoutError` at the first look after its time, and with `CutShort` when it is cut short."""

    __slots__ = ("_cut_short", "_until")

    def __init__(self, watch: EventWatch, within: float) -> None:
        super().__init__(watch)
        self._until = time.monotonic() + within
        self._cut_short = False

    def cut_short(self) -> None:
        """Ends the block now."""
        self._cut_short = True
        self._end()

    def begin(self) -> None:
        if time.monotonic() < self._until:
            self._watch.add(self)  # for the next look
        else:
            self._end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.discard(self)
        if self._was_ended(kind):
            raise (CutShort if self._cut_short else TimeoutError) from None
