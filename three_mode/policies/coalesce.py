"""Identical calls in flight share one call. It lives as long as anybody waits for it, and no longer.

It runs in the task of the one who began it (see movable.py), until that one leaves and others stay.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from three_mode.errors import DeadlineExceeded
from three_mode.policies.movable import Movable

FOREVER = float("inf")
T = TypeVar("T")


class _Shared(Movable[T]):
    """One call and a future for each that joined it; the future of one that left is cancelled."""

    waiting: Sequence["asyncio.Future[T]"] = ()

    def __init__(
        self,
        calls: "dict[Hashable, _Shared[T]]",
        key: Hashable,
        work: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._calls, self._key, self._work, self._loop = calls, key, work, loop

    def joined(self) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self._loop.create_future()
        self.waiting = [*self.waiting, future]
        return future

    def wanted(self) -> bool:
        """By those who joined. Where there is none, nobody can join any more."""
        if all(map(asyncio.Future.done, self.waiting)):
            self.forget()
            return False
        return True

    async def alone(self) -> None:
        try:
            result = await self.run(True)
        except BaseException as error:
            self.failed(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.succeeded(result)

    def succeeded(self, result: T) -> None:
        self.forget()
        for future in self.waiting:
            if not future.done():
                future.set_result(result)

    def failed(self, error: BaseException) -> None:
        """Whatever comes of the call goes to all that still wait."""
        self.forget()
        for future in self.waiting:
            if not isinstance(error, Exception):
                future.cancel()
            elif not future.done():
                future.set_exception(error)

    def forget(self) -> None:
        if self._calls.get(self._key) is self:
            del self._calls[self._key]


class Coalescer(Generic[T]):
    """`run(key, make)`: the first caller of a key makes the call, the others wait for it.

    A waiter that is cancelled, or whose own deadline passes, leaves alone; the last one to leave cancels the call.
    """

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(
        self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]], deadline: float = FOREVER
    ) -> tuple[T, bool]:
        """The result, and whether somebody else's call gave it. `make` heeds the deadline of the one who began; who joined has
        one of its own, in the loop's time, and begins anew where only the other one ran out of time."""
        shared = self._shared.get(key)
        if shared is not None:
            return await self._join(key, make, deadline, shared)
        shared = self._shared[key] = _Shared(self._shared, key, make(), asyncio.get_running_loop())
        try:
            result = await shared.run()
        except BaseException as error:
            if shared.task is None:  # else the call goes on
                shared.failed(error)
            raise
        if shared.waiting:
            shared.succeeded(result)
        else:
            shared.forget()
        return result, False

    async def _join(
        self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]], deadline: float, shared: "_Shared[T]"
    ) -> tuple[T, bool]:
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
            raise DeadlineExceeded("the reply was not complete in the time allowed", stage="total") from None
        return await self.run(key, make, deadline)

    async def _left(self, shared: "_Shared[T]") -> None:
        """The last to leave cancels the call, and waits for its end."""
        task = shared.task
        if task is not None and not task.done() and not shared.wanted():
            task.cancel()
            await asyncio.wait([task])
