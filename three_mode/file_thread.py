"""The one thread that reads and writes a file, so that no event loop waits for the disk."""

import asyncio
import atexit
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet, finalize

from three_mode.thread_results import tell

T = TypeVar("T")
_Work = Callable[[], None] | None  # None: nothing more comes
_LAST_WRITES_WITHIN = 30.0  # seconds that the end of the process waits for what is still to be written


class ThreadClosed(Exception):
    """The thread takes no more work."""


class FileThread:
    """Does work one after the other, in the order in which it comes.

    A hop of an executor takes half as much processor time again: it makes two futures and wakes the loop for each. Like
    an executor, the thread begins with the first work, ends where nobody holds this object any more, and the end of the
    process waits for what was given before.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`. A caller who is cancelled before it begins takes it back."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def do() -> None:
            if future.cancelled():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  # the caller gets it
                tell(future, None, error)
            else:
                tell(future, result)

        self._put(do)
        return await future

    def submit(self, work: Callable[[], Any]) -> None:
        """Have work done; nobody waits for it, and nobody hears of its errors: it sees to them itself."""
        self._put(work)

    def close(self) -> None:
        """Take no more work. What was given is still done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)

    def _put(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise ThreadClosed
            if self._thread is None:
                self._thread = threading.Thread(target=_run, args=(self._queue,), name=self._name, daemon=True)
                self._thread.start()
                finalize(self, self._queue.put, None).atexit = False
                _LIVING.add(self)
            self._queue.put(work)

    def end(self, within: float) -> None:
        """Close, and wait for the last work."""
        self.close()
        if self._thread is not None:
            self._thread.join(within)


_LIVING: WeakSet[FileThread] = WeakSet()


def _run(queue: SimpleQueue[_Work]) -> None:
    """Knows the queue alone, so that the object can be collected while its thread waits."""
    while (work := queue.get()) is not None:
        try:
            work()
        except BaseException:  # noqa: BLE001, S110  # of work that nobody waits for
            pass
        del work


@atexit.register
def _end_all() -> None:
    for each in list(_LIVING):
        each.end(_LAST_WRITES_WITHIN)
