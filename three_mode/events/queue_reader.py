"""Reader of a bounded queue of events: an async iterator that says what it has lost."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from three_mode.errors import ConfigurationError
from three_mode.events.queue import EventQueue

T = TypeVar("T")


class QueueReader(Generic[T]):
    """Events from now on, until it is closed. Leaving an `async with` block, `aclose`, or dropping the reader ends
    it."""

    def __init__(
        self, waiting: int, gap: Callable[[int], T], ready: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """`waiting`: events that may wait; `gap` makes the one that says how many are lost; `ready` is awaited before
        the first event, and when the reader is entered."""
        self._leave: Callable[[], None] = _nothing  # for `__del__`, whatever is raised here
        given: Any = waiting
        if not isinstance(given, int) or given < 1:
            raise ConfigurationError(f"waiting is a number of events, at least 1, not {waiting!r}")
        self._queue: EventQueue[T] = EventQueue(waiting, gap)
        self._ready = ready

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

    async def __anext__(self) -> T:
        await self._until_ready()
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def batch(self) -> list[T]:
        """All that has come by now, and at least one event; [] at the end. For passing events on."""
        await self._until_ready()
        return await self._queue.batch()

    def take(self) -> list[T]:
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


def _nothing() -> None:
    """Leave nothing."""
