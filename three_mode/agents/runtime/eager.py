"""Eager start: run a coroutine at once, and make it a task only if it has to wait.

Most handlers never wait, and a task costs several times what running them does. Python 3.12 has eager tasks, but they
too make a `Task` for each coroutine. Here one spare task stands by: a coroutine runs its first part under the spare's
name, so that `asyncio.current_task()`, `asyncio.timeout` and cancel scopes work. If the coroutine ends there, the spare
is as new and serves the next; if the coroutine has to wait, the spare adopts it, drives it to its end and ends with it,
and a new spare is made.

As with `create_task`, a coroutine sees one task from beginning to end, has a context of its own in all its steps, and
the first future that it awaits is passed on unchanged. Other than with `create_task`, done-callbacks that a coroutine
puts on its own task are called only if it had to wait.
"""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from types import coroutine
from typing import Any

Finished = Callable[[Any, BaseException | None], None]
Work = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
_ALL = object()  # yielded in place of a future: all coroutines have ended


class _Spare:
    """Task that stands by, and the coroutine that it adopts."""

    __slots__ = ("adopted", "failure", "gate", "result", "row", "taken", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.gate: asyncio.Future[None] = loop.create_future()
        self.adopted: tuple[Work, Any, Context, Finished] | None = None
        self.taken = False
        self.result: Any = None  # of a coroutine that ended at once
        self.failure: BaseException | None = None
        standing = _stand_by(self)
        standing.send(None)  # begun: a task that is cancelled before its first step would drop what it adopts
        self.task = asyncio.Task(standing, loop=loop, name="agent")
        self.row = _run_as_sent(self)
        self.row.send(None)


class Starter:
    """Starter of coroutines on one loop, from its callbacks, or from inside a task, which steps aside meanwhile.

    A running coroutine may start others: each has a spare to itself until it has ended or waits.
    """

    __slots__ = ("_loop", "_spares", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._spares: list[_Spare] = [_Spare(loop)]
        self.running: set[asyncio.Task[None]] = set()

    def start(
        self, work: Coroutine[Any, Any, Any], context: Context, finished: Finished
    ) -> "asyncio.Task[None] | None":
        """Run `work` up to its first wait. Return the task that goes on; None: it ended, and `finished` was called."""
        loop, spares = self._loop, self._spares
        spare = spares.pop() if spares else _Spare(loop)
        task, outer = spare.task, None
        try:
            _enter_task(loop, task)
        except RuntimeError:  # some other task is running
            outer = _step_aside(loop, task)
        try:
            waits_for = context.run(spare.row.send, work)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        if waits_for is not _ALL:
            return self._adopt(spare, spare.row, waits_for, context, finished)
        result, failure = spare.result, spare.failure
        spare.result = spare.failure = None
        self._put_back(spare)
        finished(result, failure)
        return None

    def start_each(
        self,
        works: Iterator[Coroutine[Any, Any, Any]],
        context: Context,
        suspended: "Callable[[asyncio.Task[None], Context], Finished]",
        failed: Callable[[BaseException], None],
    ) -> None:
        """Start many coroutines whose results nobody waits for, each in a copy of `context`.

        `suspended(task, context)` is called for each that has to wait, `failed(error)` for each that raised at once.
        """
        loop, spares = self._loop, self._spares
        spare = spares.pop() if spares else _Spare(loop)
        task, outer = spare.task, None
        try:
            _enter_task(loop, task)
        except RuntimeError:  # some other task is running
            outer = _step_aside(loop, task)
        try:
            while True:
                own = context.copy()
                row = _one_after_another(works, spare, own, context, failed)
                try:
                    waits_for = own.run(row.send, None)
                except StopIteration as stop:
                    if stop.value is _ALL:
                        break
                    continue
                _leave_task(loop, task)
                self._adopt(spare, row, waits_for, own, suspended(task, own))
                spare = _Spare(loop)
                task = spare.task
                _enter_task(loop, task)
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        self._put_back(spare)

    def _put_back(self, spare: _Spare) -> None:
        if spare.task.cancelling():  # a coroutine cancelled its own task: the next must not be cancelled for that
            spare.row.close()
        else:
            self._spares.append(spare)

    def _adopt(
        self, spare: _Spare, work: Work, waits_for: Any, context: Context, finished: Finished
    ) -> "asyncio.Task[None]":
        task = spare.task
        if work is not spare.row:
            spare.row.close()
        spare.adopted, spare.taken = (work, waits_for, context, finished), True
        if not spare.gate.done():
            spare.gate.set_result(None)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return task

    def close(self) -> None:
        """Cancel the spares; running coroutines are the caller's to cancel."""
        for spare in self._spares:
            spare.gate.cancel()
            spare.task.cancel()


def _step_aside(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> "asyncio.Task[Any] | None":
    """Enter `task` in place of the running task, and return the latter."""
    outer = asyncio.current_task(loop)
    if outer is not None:
        _leave_task(loop, outer)
    _enter_task(loop, task)
    return outer


@coroutine
def _run_as_sent(spare: _Spare) -> Generator[Any, Any, Any]:
    """Run the coroutines that are sent to it, each to its end, until one has to wait, and go on as that one.

    Delegation is cheaper than `send` to each coroutine, where every end is an exception.
    """
    work = yield
    while True:
        try:
            result = yield from work
        except BaseException as error:
            if spare.taken:
                raise
            spare.failure = error
        else:
            if spare.taken:
                return result
            spare.result = result
        work = result = None  # keep no coroutine that has ended
        work = yield _ALL


@coroutine
def _one_after_another(
    works: Iterator[Coroutine[Any, Any, Any]],
    spare: _Spare,
    own: Context,
    pristine: Context,
    failed: Callable[[BaseException], None],
) -> Generator[Any, Any, Any]:
    """Run coroutines in one context until one has to wait, and go on as that one, or until one has changed the context.

    Delegation costs half of `send` to each coroutine, where every end is an exception, and a copy of the context for
    each.
    """
    for work in works:
        try:
            result = yield from work
        except BaseException as error:
            if spare.taken:
                raise
            failed(error)
        else:
            if spare.taken:
                return result
        try:
            changed = own != pristine  # a comparison of pointers, while no variable was set
        except Exception:  # noqa: BLE001  # values that cannot be compared
            changed = True
        if changed:
            return None
    return _ALL


async def _stand_by(spare: _Spare) -> None:
    await _drive(spare)  # from Python 3.12 on, a task accepts no generator


@coroutine
def _drive(spare: _Spare) -> Generator[Any, Any, None]:
    """Body of a spare task: wait for a coroutine that runs already, then drive it to its end."""
    failure: BaseException | None = None
    try:
        yield  # to the constructor of the spare
        yield from spare.gate
    except asyncio.CancelledError as error:
        if spare.adopted is None:
            raise
        failure = error
    if spare.adopted is None:
        return
    work, waits_for, context, finished = spare.adopted
    spare.adopted = None
    if failure is not None and asyncio.isfuture(waits_for) and waits_for.cancel():
        failure = None  # as in a task: the awaited future is cancelled, and raises CancelledError
    value: Any = None
    while True:
        if failure is None:
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001  # CancelledError from the task, GeneratorExit at the end
                failure = error
        try:
            if failure is None:
                waits_for = context.run(work.send, value)
            else:
                thrown, failure = failure, None
                waits_for = context.run(work.throw, thrown)
        except StopIteration as stop:
            finished(stop.value, None)
            return
        except (asyncio.CancelledError, GeneratorExit) as error:
            finished(None, error)
            raise
        except BaseException as error:  # noqa: BLE001
            finished(None, error)
            return
