"""Two runners for one race: the second starts when the first is late.

The first runs in the caller's own task, and one timer watches all races of a `Hedge`: all are late after the same time, so
that those that began first are late first. A race that is not needed costs an entry in a dict. When the second one wins, the
first is interrupted: as it says itself, or the way `asyncio.timeout` does it, by cancelling its task and taking that back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from three_mode.policies.clock import MONOTONIC, Clock, Timer

T = TypeVar("T")


async def hedged(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T]],
    after: float,
    discard: Callable[[T], None] = lambda _: None,
    clock: Clock = MONOTONIC,
) -> tuple[T, bool]:
    """One race: the first result, and whether the second runner gave it. See `Hedge.race`."""
    hedge, late = Hedge(after, discard, clock), SecondRunner(second)
    try:
        return await hedge.run(first(), late), late.used
    finally:
        hedge.close()


class StartsLate(Protocol):
    """One that waits to be late."""

    def start(self) -> None: ...


class Hedge(Generic[T]):
    """Races in which the second runner starts after `after` seconds; a result that came too late is given to `discard`."""

    def __init__(self, after: float, discard: Callable[[T], None] = lambda _: None, clock: Clock = MONOTONIC) -> None:
        self.after = after
        self._discard = discard
        self._clock = clock
        self._waiting: dict[StartsLate, float] = {}  # when each is late, soonest first
        self._timer: Timer | None = None

    def race(self, first: Awaitable[T], second: Callable[..., Awaitable[T]], *arguments: Any) -> Coroutine[Any, Any, T]:
        """The first result. Where both fail it is the first one's error.

        The loser is cancelled and waited for, so that nothing runs on unseen. A first runner that fails before it is late
        fails alone: trying again is somebody else's decision.
        """
        return self.run(first, SecondRunner(second, arguments))

    async def run(self, first: Awaitable[T], late: "SecondRunner[T]") -> T:
        self.watch(late, self._clock.now())
        try:
            result = await first
        except BaseException as error:
            if await self.second_wins(late, error):
                return late.result()
            raise
        if late.task is None:
            self.unwatch(late)
            return result
        try:
            await self.stop_second(late)
        except BaseException:  # whoever wanted the result has left
            self._discard(result)
            raise
        return result

    # For a first runner that is no coroutine of its own: `watch`, `unwatch` unless it was late, then `second_wins` or `stop_second`.

    def watch(self, one: StartsLate, now: float) -> None:
        self._waiting[one] = now + self.after
        if self._timer is None:
            self._timer = self._clock.call_later(self.after, self._look)

    def unwatch(self, one: StartsLate) -> None:
        del self._waiting[one]

    async def second_wins(self, late: "SecondRunner[T]", error: BaseException) -> bool:
        """The first runner ended so. Whether the second one has a result instead."""
        try:
            if isinstance(error, asyncio.CancelledError):
                late.used = late.won()
            elif isinstance(error, Exception):
                late.used = late.task is not None and await late.succeeds()
            return late.used
        finally:
            if late.task is None:
                self.unwatch(late)
            else:
                await self.stop_second(late)

    async def stop_second(self, late: "SecondRunner[T]") -> None:
        """Ends a second runner that came second."""
        await late.stop()
        if late.has_result and not late.used:
            self._discard(late.result())

    def _look(self) -> None:
        """Start the second runner of each race that is late, and sleep until the next one is."""
        self._timer = None
        now = self._clock.now()
        while self._waiting:
            late, due = next(iter(self._waiting.items()))
            if due > now:
                self._timer = self._clock.call_later(due - now, self._look)
                return
            del self._waiting[late]
            late.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SecondRunner(Generic[T]):
    """The second runner, if it ever runs."""

    __slots__ = (
        "_arguments",
        "_cancelled_before",
        "_first",
        "_first_failed",
        "_interrupt",
        "_make",
        "interrupted",
        "task",
        "used",
    )

    def __init__(
        self,
        make: Callable[..., Awaitable[T]],
        arguments: tuple[Any, ...] = (),
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        """`interrupt` makes the first runner fail; without it, the task that runs now is the first runner's, and is cancelled."""
        self._make, self._arguments, self._interrupt = make, arguments, interrupt
        self._first = asyncio.current_task() if interrupt is None else None
        self._cancelled_before = self._first.cancelling() if self._first is not None else 0
        self.interrupted = False
        self._first_failed = False
        self.used = False
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        self.task = asyncio.ensure_future(_run(self._make, self._arguments))
        self.task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[T]) -> None:
        if self._first_failed or not self.has_result:
            return
        self.interrupted = True
        if self._interrupt is not None:
            self._interrupt()
        elif self._first is not None:
            self._first.cancel()

    def won(self) -> bool:
        """Whether the cancellation that the first one feels is ours, and nobody else's beside it."""
        if not self.interrupted or self._first is None:
            return False
        return self._first.uncancel() <= self._cancelled_before

    async def succeeds(self) -> bool:
        """The first has failed: it all hangs on the second."""
        assert self.task is not None
        self._first_failed = True
        await asyncio.wait([self.task])
        return self.has_result

    @property
    def has_result(self) -> bool:
        task = self.task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    def result(self) -> T:
        assert self.task is not None
        return self.task.result()

    async def stop(self) -> None:
        self._first_failed = True  # from here on nobody is interrupted
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])


async def _run(make: Callable[..., Awaitable[T]], arguments: tuple[Any, ...]) -> T:
    return await make(*arguments)
