"""Threads of a world: what would run beside an event loop runs on it, in a later turn and in order."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from three_mode.file_thread import FileThread, ThreadClosed
from three_mode.tools.threads import ToolThreads

T = TypeVar("T")


async def run_tool(threads: ToolThreads, function: Callable[[], T]) -> T:
    """`ToolThreads.run`: calls the function in this context."""
    work = partial(copy_context().run, function)
    result: T = await asyncio.get_running_loop().run_in_executor(None, work)
    return result


def put_file_work(thread: FileThread, work: Callable[[], None]) -> None:
    """`FileThread._put`: does work on a file. What a killed process has not come to is not done."""
    if thread._closed:
        raise ThreadClosed
    asyncio.get_running_loop().call_soon(work)
