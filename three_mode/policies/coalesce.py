"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Shared(Generic[T]):
    """One call and a future for each that waits for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.waiting: set[asyncio.Future[T]] = set()


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled leaves alone; the last one to leave cancels the call.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it."""
        loop = asyncio.get_running_loop()
        shared = self._shared.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._shared[key] = _Shared()
            shared.task = loop.create_task(self._call(key, shared, make))
        future: asyncio.Future[T] = loop.create_future()
        shared.waiting.add(future)
        try:
            return await future, joined
        except asyncio.CancelledError:
            shared.waiting.discard(future)
            task = shared.task
            if not shared.waiting and task is not None and not task.done():
                self._forget(key, shared)
                task.cancel()
                await asyncio.wait([task])
            raise

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
