"""Threads for plain functions, so that a tool that blocks does not hold the event loop.

They are not those of `asyncio.to_thread`: a tool that hangs would take one of those few from all others, and would hold
the end of the process. A thread that is free waits for the next call, and ends after some seconds without one.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TypeVar

from three_mode.errors import Overloaded
from three_mode.thread_results import tell

T = TypeVar("T")
MOST_THREADS = 256  # threads with a call; one more call is Overloaded
_IDLE = 5.0  # seconds without a call, after which a thread ends


class ToolThreads:
    """Threads that run plain functions for event loops.

    All of them take from one queue. One that ends its call takes the next at once, so that calls which end at once wake
    one thread or two and not as many as there are; there are as many threads as calls, so that none waits for another.
    """

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    @property
    def busy(self) -> int:
        """Calls that have a thread, those whose caller has left included."""
        return self._busy

    async def run(self, function: Callable[[], T]) -> T:
        """Calls the function on a thread, in this context.

        A caller who is cancelled leaves it there: a thread cannot be ended from outside.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        context = copy_context()

        def work() -> None:
            try:
                result = context.run(function)
            except BaseException as error:  # noqa: BLE001  # the caller gets it
                self._free()
                tell(future, None, error)
            else:
                self._free()
                tell(future, result)

        self._give(work)
        return await future

    def _give(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._busy >= self._most:
                raise Overloaded(
                    f"{self._busy} plain functions of tools run on threads, and none of them has ended",
                    hint="a tool that may hang needs a time-out of its own",
                )
            if self._threads == self._busy:
                threading.Thread(target=self._serve, name="three-mode-tool", daemon=True).start()
                self._threads += 1
            self._busy += 1
        self._queue.put(work)

    def _serve(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._threads > self._busy:  # a call given in this moment has a thread without this one
                        self._threads -= 1
                        return
                continue
            work()
            del work  # its arguments and its result

    def _free(self) -> None:
        """A call is over: its thread takes the next. Counted before the caller hears of it, who may have one more."""
        with self._lock:
            self._busy -= 1


THREADS = ToolThreads()
