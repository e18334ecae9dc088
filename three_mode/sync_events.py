"""Events of a connection for code without an event loop; `three_mode.sync` has this name.

with LLMConnection() as llm, llm.events(kinds=["response_complete"]) as events:
    for event in events: print(event.model, event.latency)
"""

import asyncio
from types import TracebackType
from typing import Generic, Self, TypeVar

from three_mode.background_loop import LOOP
from three_mode.events.queue_reader import QueueReader

T = TypeVar("T")


class Events(Generic[T]):
    """An asynchronous reader of events as an iterator. Leaving the `with` block, or `close`, ends it."""

    def __init__(self, reader: QueueReader[T]) -> None:
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        event = LOOP.run(self._next())
        if event is None:
            raise StopIteration
        return event

    def next(self, within: float) -> T | None:
        """The next event; None where none comes within so many seconds, or no more will."""
        return LOOP.run(self._next_within(within))

    def take(self) -> list[T]:
        """All events that are here already, which may be none. It does not wait."""
        return LOOP.read(self._reader.take)

    @property
    def waiting(self) -> int:
        """How many events are here already."""
        return self._reader.waiting

    @property
    def lost(self) -> int:
        """How many events were lost so far, because they were not read in time."""
        return self._reader.lost

    def __enter__(self) -> Self:
        LOOP.run(self._reader.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; another thread that waits for an event gets the end."""
        LOOP.run(self._reader.aclose())

    async def _next(self) -> T | None:
        async for event in self._reader:
            return event
        return None

    async def _next_within(self, within: float) -> T | None:
        try:
            async with asyncio.timeout(within):
                return await self._next()
        except TimeoutError:
            return None
