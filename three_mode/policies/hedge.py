"""Two runners for one race: the second starts when the first is late, or has fallen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from three_mode.policies.clock import MONOTONIC, Clock

T = TypeVar("T")


async def hedged(
    first: Callable[[], Awaitable[T]],
    second: Callable[[], Awaitable[T]],
    after: float,
    discard: Callable[[T], None] = lambda _: None,
    clock: Clock = MONOTONIC,
) -> tuple[T, bool]:
    """The first result, and whether the second runner gave it. Where both fail it is the first one's error.

    The loser is cancelled and waited for, so that nothing runs on unseen; a result that came too late is given to `discard`. A first runner that fails before `after` fails
    alone: trying again is somebody else's decision.
    """
    tasks: list[asyncio.Task[T]] = [asyncio.ensure_future(_run(first))]
    winner: asyncio.Task[T] | None = None
    timer = asyncio.ensure_future(clock.sleep(after))
    try:
        await asyncio.wait([tasks[0], timer], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            winner = tasks[0]
            return tasks[0].result(), False
        tasks.append(asyncio.ensure_future(_run(second)))
        waiting = set(tasks)
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for number, task in enumerate(tasks):
                if task.done() and not task.cancelled() and task.exception() is None:
                    winner = task
                    return task.result(), number == 1
        return tasks[0].result(), False
    finally:
        timer.cancel()
        losers = [task for task in tasks if not task.done()]
        for task in losers:
            task.cancel()
        if losers:
            await asyncio.wait(losers)
        for task in tasks:
            if not task.cancelled() and task.exception() is None and task is not winner:
                discard(task.result())


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
