"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from three_mode.errors import DeadlineExceeded

FOREVER = float("inf")
T = TypeVar("T")


class _Shared(Generic[T]):
    """One call and a future for each that waits for it; the future of one that left is cancelled."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[T]] = []

    def joined(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = loop.create_future()
        self.waiting.append(future)
        return future


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled, or whose own deadline passes, leaves alone; the last one to leave cancels the call.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(
        self, key: Hashable, make: Callable[[], Awaitable[T]], deadline: float = FOREVER
    ) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it. `make` heeds the deadline of the one who began; who joined has
        one of its own, in the loop's time, and begins anew where only the other one ran out of time."""
        loop = asyncio.get_running_loop()
        shared = self._shared.get(key)
        if shared is not None:
            return await self._join(key, make, deadline, shared)
        shared = self._shared[key] = _Shared()
        shared.task = loop.create_task(self._call(key, shared, make))
        try:
            return await shared.joined(loop), False
        except asyncio.CancelledError:
            await self._left(key, shared)
            raise

    async def _join(
        self, key: Hashable, make: Callable[[], Awaitable[T]], deadline: float, shared: "_Shared[T]"
    ) -> tuple[T, bool]:
        try:
            async with asyncio.timeout_at(None if deadline == FOREVER else deadline):
                return await shared.joined(asyncio.get_running_loop()), True
        except asyncio.CancelledError:
            await self._left(key, shared)
            raise
        except DeadlineExceeded:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        except TimeoutError:
            raise DeadlineExceeded("the reply was not complete in the time allowed", stage="total") from None
        return await self.run(key, make, deadline)

    async def _left(self, key: Hashable, shared: "_Shared[T]") -> None:
        """The last to leave cancels the call, and waits for its end."""
        task = shared.task
        if all(map(asyncio.Future.done, shared.waiting)) and task is not None and not task.done():
            self._forget(key, shared)
            task.cancel()
            await asyncio.wait([task])

    async def _call(self, key: Hashable, shared: "_Shared[T]", make: Callable[[], Awaitable[T]]) -> None:
        """Whatever comes of the call goes to all that still wait."""
        try:
            result = await make()
        except asyncio.CancelledError:
            self._forget(key, shared)
            for future in shared.waiting:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody waits
            self._forget(key, shared)
            for future in shared.waiting:
                if not future.done():
                    future.set_exception(error)
        else:
            self._forget(key, shared)
            for future in shared.waiting:
                if not future.done():
                    future.set_result(result)

    def _forget(self, key: Hashable, shared: "_Shared[T]") -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]
