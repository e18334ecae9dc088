"""Events for people who watch: responses, providers, agents; one bounded queue a reader, and no reader slows anybody.

A reader that falls behind loses the oldest events and is told how many (`gap`). New kinds of event need no change here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

RESPONSE_START = "response_start"
RESPONSE_CHUNK = "response_chunk"
RESPONSE_COMPLETE = "response_complete"
PROVIDER_STATUS_CHANGE = "provider_status_change"
PROVIDER_SWITCH = "provider_switch"


class Event(Struct, frozen=True, omit_defaults=True):
    """One event on the wire; `id` counts per endpoint, so a reader sees what it missed."""

    type: str
    id: int
    at: float
    data: dict[str, Any] = {}


class Reader:
    """One WebSocket's queue."""

    def __init__(self, size: int, kinds: frozenset[str] | None) -> None:
        self._queue: deque[bytes] = deque()
        self._size = size
        self._kinds = kinds
        self._ready = asyncio.Event()
        self._lost = 0

    def wants(self, kind: str) -> bool:
        return self._kinds is None or kind in self._kinds

    def put(self, data: bytes) -> bool:
        """False when an older event had to go for this one."""
        full = len(self._queue) >= self._size
        if full:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(data)
        self._ready.set()
        return not full

    async def get(self) -> bytes:
        """The next event; a gap first, where there is one."""
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return msgspec.json.encode({"type": "gap", "data": {"count": lost}})
        return self._queue.popleft()


class EventHub:
    """Publishes to every reader. Without readers a publish costs a truth test."""

    def __init__(self, buffer: int = 1024, clock: Callable[[], float] = time.time) -> None:
        self._readers: set[Reader] = set()
        self._buffer = buffer
        self._clock = clock
        self._count = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._readers)

    def publish(self, kind: str, **data: Any) -> None:
        self._count += 1
        if not self._readers:
            return
        wanting = [reader for reader in self._readers if reader.wants(kind)]
        if not wanting:
            return
        encoded = msgspec.json.encode(Event(kind, self._count, self._clock(), data))
        for reader in wanting:
            self.dropped += not reader.put(encoded)

    def open(self, kinds: Iterable[str] | None = None) -> Reader:
        reader = Reader(self._buffer, None if kinds is None else frozenset(kinds))
        self._readers.add(reader)
        return reader

    def close(self, reader: Reader) -> None:
        self._readers.discard(reader)
