"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Shared(Generic[T]):
    __slots__ = ("task", "waiters")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiters = 0


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled leaves alone; the last one to leave cancels the call.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it."""
        shared = self._shared.get(key)
        joined = shared is not None
        if shared is None:
            shared = self._shared[key] = _Shared(asyncio.ensure_future(_awaited(make)))
            shared.task.add_done_callback(lambda _: self._forget(key, shared))
        shared.waiters += 1
        try:
            return await asyncio.shield(shared.task), joined
        except asyncio.CancelledError:
            if shared.task.cancelled():  # it was the call that was cancelled, and so are we
                raise
            if shared.waiters == 1:
                self._forget(key, shared)
                shared.task.cancel()
                await asyncio.wait([shared.task])
            raise
        finally:
            shared.waiters -= 1

    def _forget(self, key: Hashable, shared: "_Shared[T]") -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]
        if shared.task.done() and not shared.task.cancelled():
            shared.task.exception()  # looked at: every waiter that is still there raises it


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
