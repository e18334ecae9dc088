"""Threads of tools: none waits for another, and those that end at once share one."""

import asyncio
import threading

from three_mode.tools.threads import ToolThreads

WITHIN = 20.0


async def test_calls_that_wait_for_each_other_run_side_by_side() -> None:
    threads, together = ToolThreads(), threading.Barrier(16)
    for _ in range(3):  # new threads, and then used ones
        await asyncio.gather(*(threads.run(lambda: together.wait(WITHIN)) for _ in range(16)))
    assert threads.busy == 0


async def test_a_call_that_hangs_holds_up_none_that_comes_with_it() -> None:
    threads, hold = ToolThreads(), threading.Event()
    hanging = asyncio.ensure_future(threads.run(lambda: hold.wait(WITHIN)))
    for number in range(200):
        some = [threads.run(lambda n=number: n) for _ in range(4)]  # type: ignore[misc]
        assert await asyncio.wait_for(asyncio.gather(*some), WITHIN) == [number] * 4
    assert not hanging.done()
    assert threads.busy == 1
    hold.set()
    assert await hanging


async def test_a_caller_who_is_told_may_have_one_more() -> None:
    threads = ToolThreads(most=1)
    for number in range(300):
        assert await threads.run(lambda n=number: n) == number  # type: ignore[misc]
