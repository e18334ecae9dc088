"""Two runners for one race: the second starts when the first is late.

The first runs in the caller's own task, so that a race that is not needed costs a timer and nothing else. When the second
one wins, the first is cancelled the way `asyncio.timeout` does it: the task is cancelled, and the cancellation taken back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from three_mode.policies.clock import MONOTONIC, Clock

T = TypeVar("T")


async def hedged(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T]],
    after: float,
    discard: Callable[[T], None] = lambda _: None,
    clock: Clock = MONOTONIC,
) -> tuple[T, bool]:
    """The first result, and whether the second runner gave it. Where both fail it is the first one's error.

    The loser is cancelled and waited for, so that nothing runs on unseen; a result that came too late is given to `discard`.
    A first runner that fails before `after` fails alone: trying again is somebody else's decision.
    """
    late = _Late(second)
    timer = clock.call_later(after, late.start)
    try:
        result = await first()
    except asyncio.CancelledError:
        if late.won():
            return late.result(), True
        raise
    except Exception:
        timer.cancel()
        if late.task is not None and await late.succeeds():
            return late.result(), True
        raise
    finally:
        timer.cancel()
        if late.task is not None:
            await late.end()
            if late.has_result and not late.used:
                discard(late.result())
    return result, False


class _Late(Generic[T]):
    """The second runner, if it ever runs."""

    __slots__ = ("_cancelled_before", "_first", "_first_failed", "_interrupted", "_make", "task", "used")

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._first = asyncio.current_task()
        self._cancelled_before = self._first.cancelling() if self._first is not None else 0
        self._interrupted = False
        self._first_failed = False
        self.used = False
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        self.task = asyncio.ensure_future(_run(self._make))
        self.task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[T]) -> None:
        if self._first is not None and not self._first_failed and self.has_result:
            self._interrupted = True
            self._first.cancel()

    def won(self) -> bool:
        """Whether the cancellation that the first one feels is ours, and nobody else's beside it."""
        if not self._interrupted or self._first is None:
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
        self.used = True
        return self.task.result()

    async def end(self) -> None:
        self._first_failed = True  # from here on nobody is interrupted
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
