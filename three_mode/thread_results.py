"""Results of threads for an event loop. Those that come at about the same time wake the loop once."""

import asyncio
from collections import deque
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary


class _ToldResult(NamedTuple):
    """What became of a piece of work, and who waits for it."""

    future: "asyncio.Future[Any]"
    value: Any
    error: BaseException | None


class _LoopResults:
    """Results that one loop has not taken yet. It does not know its loop, which could not be collected else."""

    __slots__ = ("_results", "_told")

    def __init__(self) -> None:
        self._results: deque[_ToldResult] = deque()
        self._told = False

    def tell(self, loop: asyncio.AbstractEventLoop, result: _ToldResult) -> None:
        """Leave a result for the loop, and wake it unless it is about to look. On any thread."""
        self._results.append(result)
        if self._told:  # set anew before the loop looks, so that no result stays behind
            return
        self._told = True
        try:
            loop.call_soon_threadsafe(self._settle)
        except RuntimeError:  # the loop is closed, and nobody waits
            self._told = False
            self._results.clear()

    def _settle(self) -> None:
        self._told = False
        while self._results:
            future, value, error = self._results.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)


_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopResults] = WeakKeyDictionary()


def tell(future: "asyncio.Future[Any]", value: Any, error: BaseException | None = None) -> None:
    """Settle a future of a loop from another thread; a future that is done already stays as it is."""
    if isinstance(error, StopIteration):  # a future refuses it
        error = RuntimeError(f"StopIteration: {error}")
    loop = future.get_loop()
    results = _LOOPS.get(loop)
    if results is None:
        results = _LOOPS.setdefault(loop, _LoopResults())
    results.tell(loop, _ToldResult(future, value, error))
