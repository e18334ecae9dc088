"""Reader of events: an async iterator over a bounded queue."""

import time
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self

from three_mode.errors import ConfigurationError
from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import chosen
from three_mode.events.queue import EventQueue
from three_mode.events.values import EventGap, LLMEvent

WAITING = 1024  # events that may wait for a reader


class EventReader:
    """Events of a connection from now on, until it is closed: `async for event in llm.events()`.

    A reader that is too slow loses the oldest events, and gets an `EventGap` with their number. Leaving an `async with`
    block, `aclose`, or dropping the reader ends it.
    """

    def __init__(
        self,
        hub: ConnectionHub,
        kinds: Iterable[str] | None = None,
        waiting: int = WAITING,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`ready` is awaited before the first event, and when the reader is entered."""
        self._leave: Callable[[], None] = _nothing  # for `__del__`, whatever is raised here
        given: Any = waiting
        if not isinstance(given, int) or given < 1:
            raise ConfigurationError(f"waiting is a number of events, at least 1, not {waiting!r}")
        self._queue: EventQueue[LLMEvent] = EventQueue(waiting, _gap)
        self._ready = ready
        self._leave = hub.attach(chosen(kinds), self._queue.put, self._queue.end)

    @property
    def waiting(self) -> int:
        """How many events are here already."""
        return len(self._queue)

    @property
    def lost(self) -> int:
        """How many events this reader has lost so far."""
        return self._queue.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LLMEvent:
        await self._until_ready()
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def batch(self) -> list[LLMEvent]:
        """All that has come by now, and at least one event; [] at the end. For passing events on."""
        await self._until_ready()
        return await self._queue.batch()

    def take(self) -> list[LLMEvent]:
        """All events that are here already, which may be none. It does not wait."""
        return self._queue.take()

    async def __aenter__(self) -> Self:
        await self._until_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """End the reader: `close`."""
        self.close()

    def close(self) -> None:
        """End the reader. What is here already can still be read."""
        self._leave()
        self._queue.end()

    async def _until_ready(self) -> None:
        if self._ready is not None:
            ready, self._ready = self._ready, None
            await ready()

    def __del__(self) -> None:
        self._leave()


def _gap(count: int) -> LLMEvent:
    return EventGap(time=time.time(), count=count)


def _nothing() -> None:
    """Leave nothing."""
