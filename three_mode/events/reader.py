"""Reader of the events of a connection."""

import time
from collections.abc import Awaitable, Callable, Iterable

from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import chosen
from three_mode.events.queue_reader import QueueReader
from three_mode.events.values import EventGap, LLMEvent

WAITING = 1024  # events that may wait for a reader


class EventReader(QueueReader[LLMEvent]):
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
        super().__init__(waiting, _gap, ready)
        self._leave = hub.attach(chosen(kinds), self._queue.put, self._queue.end)


def _gap(count: int) -> LLMEvent:
    return EventGap(time=time.time(), count=count)
