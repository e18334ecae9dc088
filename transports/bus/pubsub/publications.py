"""Publications that a RELIABLE subscriber holds up: they wait in order, until there is room or it is evicted."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from transports.bus.errors import BusError, Overloaded

Publish = Callable[[bytes, bytes, bytes, int], int]
RETRY = 0.0005  # seconds between two tries
AT_ONCE = 0.0002  # seconds without a timer: a reader that is not far behind makes room before it would fire


class Publications:
    """Publications of one member that wait for room, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting: deque[tuple[bytes, bytes, bytes, int, asyncio.Future[int]]] = deque()
        self.bytes = 0

    def add(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> "asyncio.Future[int]":
        """Add a message, or raise Overloaded; the future gets the message's number once it is published."""
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

    def flush(self, publish: Publish, handing_over: Callable[[], "asyncio.Future[int] | None"]) -> None:
        """Publish, in order, what waits, until the carrier has no room; `handing_over()` is the carrier's."""
        while self.waiting:
            topic, envelope, body, flags, placed = self.waiting[0]
            seq = publish(topic, envelope, body, flags)
            if not seq:
                return
            self.waiting.popleft()
            self.bytes -= len(envelope) + len(body)
            known = handing_over()
            if known is not None:
                known.add_done_callback(partial(_handed_over, placed, seq))
            elif not placed.done():
                placed.set_result(seq)

    def close(self, error: BusError) -> None:
        """Drop all that waits; those who await a receipt get `error`."""
        for *_, placed in self.waiting:
            if not placed.done():
                fail(placed, error)
        self.waiting.clear()


def fail(placed: "asyncio.Future[int]", error: BaseException) -> None:
    """Give an error to those who await a receipt."""
    placed.set_exception(error)
    placed.exception()  # mark it as retrieved: without a waiter, the loop is not to warn of it


def _handed_over(placed: "asyncio.Future[int]", seq: int, known: "asyncio.Future[int]") -> None:
    """End the wait for a message that is in the ring, as the wait for the ring ended."""
    error = known.exception()
    if placed.done():
        return
    if error is not None:
        fail(placed, error)
    else:
        placed.set_result(seq)


class Holding:
    """A writer that a RELIABLE reader holds up.

    `retry()` is called soon after each try without room; `evict_slowest(seconds)` once that has gone on for `within`
    seconds.
    """

    def __init__(self, within: float, retry: Callable[[], None], evict_slowest: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._within = within
        self._retry = retry
        self._evict_slowest = evict_slowest
        self.since = 0.0  # time of the first try without room; 0: nothing is held up
        self._timer: asyncio.Handle | None = None

    def held_up(self) -> None:
        """Note a try without room, and schedule the next; evict the slowest reader past the deadline."""
        now = time.monotonic()
        if not self.since:
            self.since = now
        elif now - self.since > self._within:
            self._evict_slowest(now - self.since)
            self.since = now
        if self._timer is None:
            if now - self.since < AT_ONCE:
                self._timer = self._loop.call_soon(self._try_again)
            else:
                self._timer = self._loop.call_later(RETRY, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self._retry()

    def close(self) -> None:
        """Stop trying."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
