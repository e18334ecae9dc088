"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from three_mode.errors import DeadlineExceeded
from three_mode.policies.clock import FOREVER

T = TypeVar("T")


class SharedCall(Generic[T]):
    """One call and a future for each that waits for it; the future of one that left is cancelled.

    Without a task it is made by the one who began it, who then is not among those that wait.
    """

    __slots__ = ("key", "task", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[T]] = []

    def joined(self) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    @property
    def wanted(self) -> bool:
        """By those who wait."""
        return not all(map(asyncio.Future.done, self.waiting))

    def succeeded(self, result: T) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(result)

    def failed(self, error: BaseException) -> None:
        for future in self.waiting:
            if not isinstance(error, Exception):
                future.cancel()
            elif not future.done():
                future.set_exception(error)


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled, or whose own deadline passes, leaves alone; the last one to leave cancels the call.

    A task for each call is much, where hardly one is ever shared. So a caller may `begin` one in its own task, and say how it
    `succeeded` or `failed`; or `go_on` with the rest of it in a task of the call's own; or, when it leaves and others wait,
    `hand_over` the rest to such a task.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, SharedCall[T] | None] = {}  # None: begun, and nobody joined

    async def run(self, key: Hashable, make: Callable[[], Awaitable[T]], deadline: float = FOREVER) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it. `make` heeds the deadline of the one who began; who joined has
        one of its own, in the loop's time, and begins anew where only the other one ran out of time."""
        if self.begin(key):
            return await self.go_on(key, make), False
        return await self._join(self._of(key), make, deadline)

    async def _join(self, shared: SharedCall[T], make: Callable[[], Awaitable[T]], deadline: float) -> tuple[T, bool]:
        try:
            async with asyncio.timeout_at(None if deadline == FOREVER else deadline):
                return await shared.joined(), True
        except asyncio.CancelledError:
            await self._left(shared)
            raise
        except DeadlineExceeded:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        except TimeoutError:
            await self._left(shared)
            raise DeadlineExceeded("the reply was not complete in the time allowed", stage="total") from None
        return await self.run(shared.key, make, deadline)

    def begin(self, key: Hashable) -> bool:
        """False where one is in flight already."""
        if key in self._shared:
            return False
        self._shared[key] = None
        return True

    def succeeded(self, key: Hashable, result: T) -> None:
        """Gives the result of a call that was begun to all that wait for it."""
        shared = self._shared.pop(key)
        if shared is not None:
            shared.succeeded(result)

    def failed(self, key: Hashable, error: BaseException) -> None:
        """Gives the error of a call that was begun to all that wait for it."""
        shared = self._shared.pop(key)
        if shared is not None:
            shared.failed(error)

    def wanted(self, key: Hashable) -> bool:
        """Whether others wait for a call that was begun, and is made by whoever began it."""
        shared = self._shared.get(key)
        return shared is not None and shared.task is None and shared.wanted

    async def go_on(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Makes the rest of a call that was begun in a task of its own, and waits for the result."""
        future = self._of(key).joined()
        shared = self.hand_over(key, make)
        try:
            return await future
        except asyncio.CancelledError:
            await self._left(shared)
            raise

    def hand_over(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> SharedCall[T]:
        """Makes the rest of a call that was begun in a task of its own, for those that wait."""
        shared = self._of(key)
        shared.task = asyncio.get_running_loop().create_task(self._call(shared, make))
        return shared

    def _of(self, key: Hashable) -> SharedCall[T]:
        shared = self._shared[key]
        if shared is None:
            shared = self._shared[key] = SharedCall(key)
        return shared

    async def _left(self, shared: SharedCall[T]) -> None:
        """The last to leave cancels the call, and waits for its end."""
        task = shared.task
        if task is not None and not task.done() and not shared.wanted:
            self._forget(shared)
            task.cancel()
            await asyncio.wait([task])

    async def _call(self, shared: SharedCall[T], make: Callable[[], Awaitable[T]]) -> None:
        """Whatever comes of the call goes to all that still wait."""
        try:
            result = await make()
        except BaseException as error:
            self._forget(shared)
            shared.failed(error)
            if not isinstance(error, Exception):  # the others are raised where somebody waits
                raise
        else:
            self._forget(shared)
            shared.succeeded(result)

    def _forget(self, shared: SharedCall[T]) -> None:
        if self._shared.get(shared.key) is shared:
            del self._shared[shared.key]
