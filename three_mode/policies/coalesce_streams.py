"""Coalescing of identical streams in flight into one call. A later reader first gets the chunks so far.

    reader, joined = await shared.open(key, make)      make() opens the call, for the first reader of a key
    while batch := await reader.more(): ...
    reader.close()                                     the last reader to leave cancels the call

The call is read as fast as its fastest reader asks. Chunks are kept for the others, up to a bound. Beyond it no reader
can join any more (a new one makes a separate call), chunks that all have read are dropped, and a reader that is further
behind gets an error: it never slows down the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from itertools import chain, islice
from typing import Any, Generic, Protocol, TypeVar

from three_mode.errors import DeadlineExceeded, Overloaded
from three_mode.policies.clock import FOREVER

C = TypeVar("C")


class Source(Protocol):
    """Stream that is shared."""

    async def more(self) -> list[Any]:
        """Waits for the next pieces; [] at the end."""
        ...

    def close(self) -> None:
        """Ends the stream at once, without waiting."""


S = TypeVar("S", bound=Source)


class SharedStreams(Generic[C, S]):
    """Shared streams by key. `weigh` is the bytes of a piece, `most` the bytes that may be kept."""

    def __init__(self, most: int, weigh: Callable[[C], int]) -> None:
        self._most = most
        self._weigh = weigh
        self._shared: dict[Hashable, _Shared[C, S]] = {}

    async def open(
        self, key: Hashable, make: Callable[[], Awaitable[S]], deadline: float = FOREVER
    ) -> "tuple[SharedStreamReader[C, S], bool]":
        """A reader of the whole stream, and whether another reader began it.

        `deadline` is that of this reader, in the loop's time. Where only the first reader ran out of time before
        anything came, a new call begins.
        """
        shared = self._shared.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._shared[key] = _Shared(self._most, self._weigh, lambda: self._forget(key, shared))
            shared.begin(make)
        reader = SharedStreamReader(shared, deadline)
        try:
            await reader.opened()
        except DeadlineExceeded:
            await reader.abandon()
            if joined and asyncio.get_running_loop().time() < deadline:
                return await self.open(key, make, deadline)
            raise
        except BaseException:
            await reader.abandon()
            raise
        return reader, joined

    def _forget(self, key: Hashable, shared: "_Shared[C, S] | None") -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]


class SharedStreamReader(Generic[C, S]):
    """One reader of a shared stream."""

    def __init__(self, shared: "_Shared[C, S]", deadline: float) -> None:
        self._shared = shared
        self._deadline = deadline
        self.at = 0  # number of the next batch
        self.lost = False  # whether it fell too far behind
        shared.readers.add(self)

    @property
    def source(self) -> S:
        """Stream that is read, once it is open."""
        assert self._shared.source is not None
        return self._shared.source

    async def opened(self) -> None:
        """Waits until the stream is open."""
        shared = self._shared
        while shared.source is None and shared.error is None:
            await self._wait_for_change()
        if shared.source is None and shared.error is not None:
            raise shared.error

    async def more(self) -> list[C]:
        """Waits for the next pieces; [] at the end."""
        shared = self._shared
        while not self.lost:
            if self.at < shared.end:
                return shared.take(self)
            if shared.error is not None:
                raise shared.error
            if shared.ended:
                return []
            await self._wait_for_change()
        raise Overloaded(
            f"this reader fell more than {shared.most} bytes behind those with which it shares the stream",
            retryable=False,
            hint="read faster, or raise CoalesceOptions(buffer=...)",
        )

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout_at(None if self._deadline == FOREVER else self._deadline):
                await self._shared.next()
        except TimeoutError:
            raise DeadlineExceeded("the reply was not complete in the time allowed", stage="total") from None

    def close(self) -> None:
        """Leaves the stream; the last reader to leave ends the call."""
        self._shared.leave(self)

    async def abandon(self) -> None:
        """Leaves before the stream was open; the last reader waits for the end of the call."""
        self.close()
        task = self._shared.task
        if not self._shared.readers and task is not None and not task.done():
            await asyncio.wait([task])


class _Shared(Generic[C, S]):
    """One call: a task that reads it on demand, and the pieces so far."""

    def __init__(self, most: int, weigh: Callable[[C], int], forget: Callable[[], None]) -> None:
        self.most = most
        self.readers: set[SharedStreamReader[C, S]] = set()
        self.source: S | None = None
        self.error: Exception | None = None
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self._weigh = weigh
        self._forget = forget
        self._batches: deque[tuple[list[C], int]] = deque()
        self._dropped = 0  # batches that were dropped
        self._weight = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._wanted: asyncio.Future[None] | None = None

    @property
    def end(self) -> int:
        return self._dropped + len(self._batches)

    def begin(self, make: Callable[[], Awaitable[S]]) -> None:
        self.task = asyncio.get_running_loop().create_task(self._read(make))

    async def _read(self, make: Callable[[], Awaitable[S]]) -> None:
        """Reads the call; readers get its error after the pieces before it."""
        try:
            self.source = await make()
            self._wake()
            while not self.ended:
                if not self._waiting:
                    self._wanted = asyncio.get_running_loop().create_future()
                    await self._wanted
                batch = await self.source.more()
                if batch:
                    self._keep(batch)
                else:
                    self.ended = True
                self._wake()
        except Exception as error:  # noqa: BLE001 - readers raise it
            self.error = error
        except asyncio.CancelledError:
            for waiting in self._waiting:  # there are some only if the call cancelled itself
                waiting.cancel()
            raise
        finally:
            self.ended = True
            self._forget()
            self._wake()
            if self.source is not None:
                self.source.close()

    async def next(self) -> None:
        """Waits for a change: new pieces, or the end."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def take(self, reader: "SharedStreamReader[C, S]") -> list[C]:
        """All pieces that the reader has not read, as a new list."""
        unread = islice(self._batches, reader.at - self._dropped, None)
        pieces = list(chain.from_iterable(batch for batch, _ in unread))
        reader.at = self.end
        return pieces

    def _keep(self, batch: list[C]) -> None:
        weight = sum(map(self._weigh, batch))
        self._batches.append((batch, weight))
        self._weight += weight
        if self._weight <= self.most:
            return
        self._forget()  # a new reader could not get the start of the stream
        while self._weight > self.most and len(self._batches) > 1:
            for reader in [each for each in self.readers if each.at <= self._dropped]:
                reader.lost = True
                self.readers.discard(reader)
            self._weight -= self._batches.popleft()[1]
            self._dropped += 1

    def _wake(self) -> None:
        woken, self._waiting = self._waiting, set()
        for waiting in woken:
            if not waiting.done():
                waiting.set_result(None)

    def leave(self, reader: "SharedStreamReader[C, S]") -> None:
        self.readers.discard(reader)
        if self.readers or self.task is None or self.task.done():
            return
        self._forget()
        self.task.cancel()
        if self.source is not None:
            self.source.close()
