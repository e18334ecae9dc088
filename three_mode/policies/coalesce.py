"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Shared(Generic[T]):
    """One call and a future for each that waits for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting: set[asyncio.Future[T]] = set()

    def ended(self) -> None:
        task, waiting = self.task, [future for future in self.waiting if not future.done()]
        if task.cancelled():
            for future in waiting:
                future.cancel()
            return
        error = task.exception()
        for future in waiting:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled leaves alone; the last one to leave cancels the call.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it."""
        loop = asyncio.get_running_loop()
        shared = self._shared.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._shared[key] = _Shared(loop.create_task(make()))
            shared.task.add_done_callback(lambda _, shared=shared: self._ended(key, shared))  # type: ignore[misc]
        future: asyncio.Future[T] = loop.create_future()
        shared.waiting.add(future)
        try:
            return await future, joined
        except asyncio.CancelledError:
            shared.waiting.discard(future)
            if not shared.waiting and not shared.task.done():
                self._forget(key, shared)
                shared.task.cancel()
                await asyncio.wait([shared.task])
            raise

    def _ended(self, key: Hashable, shared: "_Shared[T]") -> None:
        self._forget(key, shared)
        shared.ended()

    def _forget(self, key: Hashable, shared: "_Shared[T]") -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]
