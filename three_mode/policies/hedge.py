"""Hedged calls: a race of two runners, of which the second starts when the first is late.

The first runs in the caller's task. One timer watches all races of a `Hedge`: all are late after the same time, so that
the race that began first is late first. A race without a second runner costs an entry in a dict. When the second runner
wins, the first is interrupted: by its own `interrupt`, or as `asyncio.timeout` does it, by cancelling its task and
uncancelling it.
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
    """Runs one race: the first result, and whether the second runner gave it. See `Hedge.race`."""
    hedge, late = Hedge(after, discard, clock), SecondRunner(second)
    try:
        return await hedge.run(first(), late), late.used
    finally:
        hedge.close()


class StartsLate(Protocol):
    """Entry of the timer: its second runner starts when it is late."""

    def start(self) -> None:
        """Starts the second runner."""


class Hedge(Generic[T]):
    """Races in which the second runner starts after `after` seconds; `discard` takes a result that came second."""

    def __init__(self, after: float, discard: Callable[[T], None] = lambda _: None, clock: Clock = MONOTONIC) -> None:
        self.after = after
        self._discard = discard
        self._clock = clock
        self._waiting: dict[StartsLate, float] = {}  # when each is late, soonest first
        self._timer: Timer | None = None

    def race(self, first: Awaitable[T], second: Callable[..., Awaitable[T]], *arguments: Any) -> Coroutine[Any, Any, T]:
        """The first result. Where both fail, the error of the first runner.

        The loser is cancelled and waited for, so that nothing runs on. A first runner that fails before it is late
        starts no second one: retries are decided elsewhere.
        """
        return self.run(first, SecondRunner(second, arguments))

    async def run(self, first: Awaitable[T], late: "SecondRunner[T]") -> T:
        """Runs a race whose second runner is `late`."""
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
        except BaseException:  # the caller has left
            self._discard(result)
            raise
        return result

    # --- for a first runner without a coroutine: watch; unwatch unless it was late; second_wins or stop_second ---

    def watch(self, entry: StartsLate, now: float) -> None:
        """Starts the race: its second runner starts after `after` seconds."""
        self._waiting[entry] = now + self.after
        if self._timer is None:
            self._timer = self._clock.call_later(self.after, self._start_late)

    def unwatch(self, entry: StartsLate) -> None:
        """Ends a race that was not late."""
        del self._waiting[entry]

    async def second_wins(self, late: "SecondRunner[T]", error: BaseException) -> bool:
        """Whether the second runner has a result, after the first ended with `error`."""
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
        """Stops the second runner after the first has won."""
        await late.stop()
        if late.has_result and not late.used:
            self._discard(late.result())

    def _start_late(self) -> None:
        """Starts the second runner of each late race, and sets the timer for the next."""
        self._timer = None
        now = self._clock.now()
        while self._waiting:
            late, due = next(iter(self._waiting.items()))
            if due > now:
                self._timer = self._clock.call_later(due - now, self._start_late)
                return
            del self._waiting[late]
            late.start()

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SecondRunner(Generic[T]):
    """Second runner of a race, whether it runs or not."""

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
        """`interrupt` fails the first runner; without it, the first runner is the current task, and is cancelled."""
        self._make, self._arguments, self._interrupt = make, arguments, interrupt
        self._first = asyncio.current_task() if interrupt is None else None
        self._cancelled_before = self._first.cancelling() if self._first is not None else 0
        self.interrupted = False
        self._first_failed = False
        self.used = False
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Starts the second runner."""
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
        """Whether the cancellation of the first runner is ours alone."""
        if not self.interrupted or self._first is None:
            return False
        return self._first.uncancel() <= self._cancelled_before

    async def succeeds(self) -> bool:
        """Waits for the second runner after the first has failed; whether it has a result."""
        assert self.task is not None
        self._first_failed = True
        await asyncio.wait([self.task])
        return self.has_result

    @property
    def has_result(self) -> bool:
        """Whether the second runner has ended with a result."""
        task = self.task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    def result(self) -> T:
        """Result of the second runner."""
        assert self.task is not None
        return self.task.result()

    async def stop(self) -> None:
        """Cancels the second runner, and waits for its end."""
        self._first_failed = True  # from here on the first runner is not interrupted
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])


async def _run(make: Callable[..., Awaitable[T]], arguments: tuple[Any, ...]) -> T:
    return await make(*arguments)
