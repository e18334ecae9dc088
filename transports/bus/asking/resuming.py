"""Resuming whoever awaits a future in the same turn of the loop that brought its result, not in the next.

A loop calls what waits for a future in its next turn: a handle more, and a system call that looks for what else is ready.
Between a question and its answer that is a tenth of the time. What is resumed here runs where the handlers of messages run.
"""

import asyncio
from typing import Any


def resume(future: "asyncio.Future[Any]", result: Any) -> None:
    """Sets the result. One waiter goes on at once, several in the loop's next turn, as does one while some task is running."""
    waiting = getattr(future, "_callbacks", None)
    if not waiting or len(waiting) != 1 or asyncio.current_task(future.get_loop()) is not None:
        future.set_result(result)
        return
    ((callback, context),) = waiting
    future.remove_done_callback(callback)
    future.set_result(result)
    context.run(callback, future)
