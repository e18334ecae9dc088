"""Preparation of a call that takes longer than a turn of the event loop: on threads, within the call's deadline.

These threads are not those of `asyncio.to_thread`: a client with long prompts must not stop what else needs threads.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from local_models.errors import DeadlineExceeded

T = TypeVar("T")
THREADS = 4


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="prompt-preparation")


async def prepare(
    work: Callable[[], T], until: float, within: float, discard: Callable[[T], object] | None = None
) -> T:
    """Runs `work` on a thread and returns its result; raises `DeadlineExceeded` at `until`, in `time.monotonic`.

    Work that has begun goes on after the deadline, or after the caller was cancelled; `discard` gets its result then.
    """
    future = _threads().submit(work)
    try:
        async with asyncio.timeout(max(until - time.monotonic(), 0)):
            return await asyncio.wrap_future(future)
    except BaseException as error:
        if discard is not None:
            future.add_done_callback(lambda done: _discard(done, discard))
        if isinstance(error, TimeoutError) and not isinstance(error, DeadlineExceeded):
            raise DeadlineExceeded("prefill", within) from None
        raise


def _discard(done: "Future[T]", discard: Callable[[T], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        discard(done.result())
