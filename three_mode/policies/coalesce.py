"""Coalescing of identical calls in flight into one call, which is cancelled when its last waiter leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from three_mode.errors import DeadlineExceeded
from three_mode.policies.clock import FOREVER

T = TypeVar("T")


class SharedCall(Generic[T]):
    """One call, with a future for each waiter; the future of a waiter that left is cancelled.

    Without a task, the caller that began the call makes it, and is not among the waiters.
    """

    __slots__ = ("key", "task", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[T]] = []

    def join(self) -> "asyncio.Future[T]":
        """Adds a waiter; returns its future."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    @property
    def wanted(self) -> bool:
        """Whether anyone still waits for the result."""
        return not all(map(asyncio.Future.done, self.waiting))

    def succeeded(self, result: T) -> None:
        """Gives the result to all waiters."""
        for future in self.waiting:
            if not future.done():
                future.set_result(result)

    def failed(self, error: BaseException) -> None:
        """Gives the error to all waiters."""
        for future in self.waiting:
            if not isinstance(error, Exception):
                future.cancel()
            elif not future.done():
                future.set_exception(error)


class Coalescer(Generic[T]):
    """Shares calls by key: in `run(key, make)` the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled, or whose own deadline passes, leaves alone; the last waiter to leave cancels the call.

    A task for each call is expensive where few calls are shared. So a caller may `begin` a call in its own task, and
    report that it `succeeded` or `failed`; or `go_on` with the rest in a separate task; or, when it leaves and others
    wait, `hand_over` the rest to such a task.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, SharedCall[T] | None] = {}  # None: begun, without a waiter

    async def run(self, key: Hashable, make: Callable[[], Awaitable[T]], deadline: float = FOREVER) -> tuple[T, bool]:
        """The result, and whether it came from the call of another caller.

        `make` observes the deadline of the caller that began. A caller that joined has its own `deadline`, in the
        loop's time, and begins a new call where only the first caller ran out of time.
        """
        if self.begin(key):
            return await self.go_on(key, make), False
        return await self._join(self._of(key), make, deadline)

    async def _join(self, shared: SharedCall[T], make: Callable[[], Awaitable[T]], deadline: float) -> tuple[T, bool]:
        try:
            async with asyncio.timeout_at(None if deadline == FOREVER else deadline):
                return await shared.join(), True
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
        """Begins a call in the caller's task; False where one is in flight already."""
        if key in self._shared:
            return False
        self._shared[key] = None
        return True

    def succeeded(self, key: Hashable, result: T) -> None:
        """Gives the result of a begun call to all its waiters."""
        shared = self._shared.pop(key)
        if shared is not None:
            shared.succeeded(result)

    def failed(self, key: Hashable, error: BaseException) -> None:
        """Gives the error of a begun call to all its waiters."""
        shared = self._shared.pop(key)
        if shared is not None:
            shared.failed(error)

    def wanted(self, key: Hashable) -> bool:
        """Whether others wait for a call that its first caller makes."""
        shared = self._shared.get(key)
        return shared is not None and shared.task is None and shared.wanted

    async def go_on(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Makes the rest of a begun call in a separate task, and waits for the result."""
        future = self._of(key).join()
        shared = self.hand_over(key, make)
        try:
            return await future
        except asyncio.CancelledError:
            await self._left(shared)
            raise

    def hand_over(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> SharedCall[T]:
        """Makes the rest of a begun call in a separate task, for its waiters."""
        shared = self._of(key)
        shared.task = asyncio.get_running_loop().create_task(self._call(shared, make))
        return shared

    def _of(self, key: Hashable) -> SharedCall[T]:
        shared = self._shared[key]
        if shared is None:
            shared = self._shared[key] = SharedCall(key)
        return shared

    async def _left(self, shared: SharedCall[T]) -> None:
        """Cancels the call, and waits for its end, if the last waiter has left."""
        task = shared.task
        if task is not None and not task.done() and not shared.wanted:
            self._forget(shared)
            task.cancel()
            await asyncio.wait([task])

    async def _call(self, shared: SharedCall[T], make: Callable[[], Awaitable[T]]) -> None:
        """Makes the call; gives its result or error to all its waiters."""
        try:
            result = await make()
        except BaseException as error:
            self._forget(shared)
            shared.failed(error)
            if not isinstance(error, Exception):  # waiters raise the others
                raise
        else:
            self._forget(shared)
            shared.succeeded(result)

    def _forget(self, shared: SharedCall[T]) -> None:
        if self._shared.get(shared.key) is shared:
            del self._shared[shared.key]
