"""The event loop of a fuzzed process, which raises what asyncio would only log."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
WITHIN = 20.0  # seconds that any input may take: a hang, which none may be
_loop: asyncio.AbstractEventLoop | None = None
_raised: list[BaseException] = []


def loop() -> asyncio.AbstractEventLoop:
    """The one loop of this process."""
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        _loop.set_exception_handler(_note)
        asyncio.set_event_loop(_loop)
        logging.getLogger().addHandler(_Raising())
        logging.getLogger("three_mode").propagate = True
    return _loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; then raise what was raised beside it, in a callback or a task, or was logged as an exception."""
    _raised.clear()
    try:
        return loop().run_until_complete(asyncio.wait_for(work, WITHIN))
    finally:
        if _raised:
            raise _raised[0]


async def turns(count: int = 8) -> None:
    """Some turns of the loop, for what comes behind each other."""
    for _ in range(count):
        await asyncio.sleep(0)


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _raised.append(error if error is not None else AssertionError(context.get("message")))


class _Raising(logging.Handler):
    """Keeps the exceptions of `log.exception`: the product says by them that it did not foresee something."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            _raised.append(record.exc_info[1])
