"""Messages that a RELIABLE subscriber holds up: they wait in order, bounded in bytes, until the carrier has room."""

import asyncio
from collections import deque
from collections.abc import Callable

from transports.bus.errors import BusError, Overloaded

Publish = Callable[[bytes, bytes, bytes, int], int]


class Publications:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting: deque[tuple[bytes, bytes, bytes, int, asyncio.Future[int]]] = deque()
        self.bytes = 0

    def add(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> "asyncio.Future[int]":
        """The future gets the message's number."""
        size = len(envelope) + len(body)
        if self.waiting and self.bytes + size > self._limit:
            raise Overloaded(
                f"{len(self.waiting)} messages wait for a RELIABLE subscriber already: await what you publish,"
                " or raise BusOptions.outbox_bytes"
            )
        placed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append((topic, envelope, body, flags, placed))
        self.bytes += size
        return placed

    def flush(self, publish: Publish) -> None:
        """The carrier may have room again."""
        while self.waiting:
            topic, envelope, body, flags, placed = self.waiting[0]
            seq = publish(topic, envelope, body, flags)
            if not seq:
                return
            self.waiting.popleft()
            self.bytes -= len(envelope) + len(body)
            if not placed.done():
                placed.set_result(seq)

    def close(self, error: BusError) -> None:
        for *_, placed in self.waiting:
            if not placed.done():
                placed.set_exception(error)
                placed.exception()  # seen by whoever awaits it; nobody else is warned
        self.waiting.clear()
