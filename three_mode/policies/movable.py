"""A coroutine that runs in the task of its caller, and moves into a task of its own if that caller leaves and others stay.

A task for each call that might be shared costs more than all other policies, and nearly every call has one caller from
beginning to end. Yet what runs in the caller's task must not be tied to it: `asyncio.timeout` and whatever else asks for the
current task would, after the move, cancel somebody who has left. So the coroutine sees the `Movable` as its current task, before
the move and after it, and the caller's task waits for what the coroutine waits for by way of a `_Wait`, which turns the
caller's cancellation into a question: does anybody else want the result?
"""

import asyncio
import sys
from asyncio import current_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Generic, TypeVar

if sys.version_info >= (3, 12):
    from asyncio.tasks import _swap_current_task as swap
else:
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]

    swap = _current_tasks.__setitem__

T = TypeVar("T")


class Movable(Generic[T]):
    """Await `run()` once. A subclass says whether the work is `wanted` without its caller, and what becomes of it `alone`."""

    task: asyncio.Task[None] | None = None
    """The one it moved into."""
    # Most of these are never set: a call pays for what happens to it.
    _wait: "_Wait | None" = None
    _waits_for: Any = None
    _wake: Callable[[Any], object] | None = None
    _context: Context | None = None
    _leaving = False
    _must_cancel = False
    _requests = 0

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop

    def wanted(self) -> bool:
        """Asked when the caller leaves."""
        raise NotImplementedError

    async def alone(self) -> None:
        """The body of the task that it moves into: awaits `run(True)`."""
        raise NotImplementedError

    @coroutine
    def run(self, waiting: bool = False) -> Generator[Any, Any, T]:
        """The work, under the name of this; `waiting` says that it began already and waits for something."""
        loop, work = self._loop, self._work
        host: Any = current_task(loop)
        failure: BaseException | None = None
        while True:
            if not waiting:
                swap(loop, self)
                try:
                    if self._must_cancel:
                        self._must_cancel = False
                        if not isinstance(failure, asyncio.CancelledError):
                            failure = asyncio.CancelledError()
                    self._waits_for = work.send(None) if failure is None else work.throw(failure)
                except BaseException as ending:
                    # It holds on to nothing that holds on to it: a cycle for each call would be work for the collector.
                    self._wait = self._waits_for = self._wake = None
                    if isinstance(ending, StopIteration):
                        return ending.value  # type: ignore[no-any-return]
                    raise
                finally:
                    failure = None
                    swap(loop, host)
            waiting = False
            try:
                if (
                    self.task is None
                    and not self._must_cancel
                    and self._wait is None
                    and self._waits_for is not None
                ):
                    self._waits_for._asyncio_future_blocking = False  # as the task does that waits for it
                    self._wait = wait = _Wait()
                    wait.movable = self
                    yield wait
                else:
                    yield self._place()
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # whatever it is, it is the work's to see
                if isinstance(error, asyncio.CancelledError) and (self._leaving or self._waits_for is None):
                    self._leaving = False
                    if self.task is None and self.wanted():
                        self.task = loop.create_task(self.alone(), context=self._context)
                        raise
                    self._requests += 1
                failure = error

    def _place(self) -> Any:
        """What the task that runs this waits for, where that is not simply the first thing that its caller waits for."""
        waits_for = self._waits_for
        if waits_for is None:
            return None
        if self._must_cancel and waits_for.cancel():
            self._must_cancel = False
        if self.task is not None:
            waits_for._asyncio_future_blocking = True
            return waits_for
        waits_for._asyncio_future_blocking = False
        if self._wait is None:
            self._wait = _Wait()
            self._wait.movable = self
        self._wake = None
        self._wait._asyncio_future_blocking = True
        return self._wait

    def leave(self) -> bool:
        """The caller's task is cancelled while it waits."""
        self._leaving = True
        waits_for, wake = self._waits_for, self._wake
        if not self.wanted():
            return bool(waits_for.cancel())
        if wake is None or waits_for.done():
            return False  # the task throws when it wakes up
        waits_for.remove_done_callback(wake)
        gone: asyncio.Future[None] = self._loop.create_future()
        gone.add_done_callback(wake, context=self._context)
        return gone.cancel()

    # What the work sees of its task

    def cancel(self, msg: Any = None) -> bool:
        self._requests += 1
        if self._waits_for is None or not self._waits_for.cancel():
            self._must_cancel = True
        return True

    def cancelling(self) -> int:
        return self._requests

    def uncancel(self) -> int:
        self._requests = max(0, self._requests - 1)
        if not self._requests:
            self._must_cancel = False
        return self._requests

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop


class _Wait:
    """Stands before the future that the work waits for, where the caller's task waits."""

    movable: Movable[Any]
    _asyncio_future_blocking = True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.movable._loop

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context | None = None) -> None:
        movable = self.movable
        movable._wake, movable._context = wake, context
        movable._waits_for.add_done_callback(wake, context=context)

    def remove_done_callback(self, wake: Callable[[Any], object]) -> int:
        return int(self.movable._waits_for.remove_done_callback(wake))

    def cancel(self, msg: Any = None) -> bool:
        return self.movable.leave()

    def done(self) -> bool:
        return bool(self.movable._waits_for.done())
