"""Threads for plain functions, so that a tool that blocks does not hold the event loop.

They are not those of `asyncio.to_thread`: a tool that hangs would take one of those few from all others, and would hold
the end of the process. A thread that is free waits for the next call, and ends after some seconds without one.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from three_mode.errors import Overloaded

T = TypeVar("T")
MOST_THREADS = 256  # threads with a call; one more call is Overloaded
_IDLE = 5.0  # seconds without a call, after which a thread ends


class _ToolThread:
    """One thread and its next piece of work."""

    def __init__(self, pool: "ToolThreads") -> None:
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pool = pool
        threading.Thread(target=self._run, name="three-mode-tool", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                work = self.work.get(timeout=_IDLE)
            except Empty:
                if self._pool.retire(self):
                    return
                continue  # taken in the same moment
            work()
            del work  # its arguments and its result
            self._pool.free(self)


class ToolThreads:
    """Threads that run plain functions for event loops."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[_ToolThread] = []
        self._busy = 0

    @property
    def busy(self) -> int:
        """Threads that have a call, those whose caller has left included."""
        return self._busy

    async def run(self, function: Callable[[], T]) -> T:
        """Calls the function on a thread, in this context.

        A caller who is cancelled leaves it there: a thread cannot be ended from outside.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def work() -> None:
            try:
                result = context.run(function)
            except StopIteration as error:  # a future refuses it
                _tell(loop, future, None, RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:  # noqa: BLE001  # the caller gets it
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        self._worker().work.put(work)
        return await future

    def _worker(self) -> _ToolThread:
        with self._lock:
            if self._busy >= self._most:
                raise Overloaded(
                    f"{self._busy} plain functions of tools run on threads, and none of them has ended",
                    hint="a tool that may hang needs a time-out of its own",
                )
            self._busy += 1
            return self._idle.pop() if self._idle else _ToolThread(self)

    def free(self, worker: _ToolThread) -> None:
        """Takes back a thread whose call is over."""
        with self._lock:
            self._busy -= 1
            self._idle.append(worker)

    def retire(self, worker: _ToolThread) -> bool:
        """Whether an idle thread may end: nobody has taken it."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", result: Any, error: Any) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the loop is closed, and nobody waits


THREADS = ToolThreads()
