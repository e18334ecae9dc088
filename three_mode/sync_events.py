"""Events of a connection for code without an event loop; `three_mode.sync` has this name.

with LLMConnection() as llm, llm.events(kinds=["response_complete"]) as events:
    for event in events: print(event.model, event.latency)
"""

import asyncio
from types import TracebackType
from typing import Self

from three_mode.background_loop import LOOP
from three_mode.events.reader import EventReader
from three_mode.events.values import LLMEvent


class Events:
    """`three_mode.events.EventReader` as an iterator. Leaving the `with` block, or `close`, ends it."""

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LLMEvent:
        event = LOOP.run(_next(self._reader))
        if event is None:
            raise StopIteration
        return event

    def next(self, within: float) -> LLMEvent | None:
        """The next event; None where none comes within so many seconds, or no more will."""
        return LOOP.run(_next_within(self._reader, within))

    def take(self) -> list[LLMEvent]:
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


async def _next(reader: EventReader) -> LLMEvent | None:
    return await anext(reader, None)


async def _next_within(reader: EventReader, within: float) -> LLMEvent | None:
    try:
        async with asyncio.timeout(within):
            return await anext(reader, None)
    except TimeoutError:
        return None
