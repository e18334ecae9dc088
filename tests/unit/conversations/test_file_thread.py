"""The one thread of a file: order, cancelled callers, errors, and the end of the process."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from three_mode.file_thread import FileThread, ThreadClosed

WITHIN = 20.0


async def test_work_is_done_one_after_the_other_in_order() -> None:
    thread, done = FileThread("a file"), list[int]()
    await asyncio.gather(*(thread.run(lambda n=n: done.append(n)) for n in range(200)))  # type: ignore[misc]
    assert done == list(range(200))
    assert await thread.run(lambda: threading.current_thread().name) == "a file"
    thread.close()


async def test_errors_are_the_callers_and_the_thread_goes_on() -> None:
    def stops() -> None:
        raise StopIteration("here")

    thread = FileThread("a file")
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration: here"):
        await thread.run(stops)
    thread.submit(lambda: 1 / 0)
    assert await thread.run(lambda: 1) == 1
    thread.close()


async def test_what_is_cancelled_before_it_begins_is_not_done() -> None:
    thread, hold, done = FileThread("a file"), threading.Event(), list[int]()
    thread.submit(lambda: hold.wait(WITHIN))
    waiting = asyncio.ensure_future(thread.run(lambda: done.append(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    hold.set()
    await thread.run(lambda: done.append(2))
    assert done == [2]
    thread.close()


async def test_a_closed_one_does_what_was_given_and_takes_no_more() -> None:
    thread, hold, done = FileThread("a file"), threading.Event(), threading.Event()
    thread.submit(lambda: hold.wait(WITHIN))
    thread.submit(done.set)
    thread.close()
    hold.set()
    assert await asyncio.to_thread(done.wait, WITHIN)
    with pytest.raises(ThreadClosed):
        await thread.run(lambda: 1)


async def test_the_thread_ends_with_the_object() -> None:
    thread = FileThread("a file")
    own: threading.Thread = await thread.run(threading.current_thread)
    gone = weakref.ref(thread)
    del thread
    gc.collect()
    await asyncio.to_thread(own.join, WITHIN)
    assert gone() is None
    assert not own.is_alive()


def test_results_for_a_loop_that_is_closed_are_dropped() -> None:
    thread, hold = FileThread("a file"), threading.Event()

    async def leaves() -> None:
        left = asyncio.ensure_future(thread.run(lambda: hold.wait(WITHIN)))
        await asyncio.sleep(0)
        assert not left.done()

    asyncio.run(leaves())
    hold.set()
    assert asyncio.run(thread.run(lambda: 2)) == 2  # a loop after it is told as ever
    thread.close()


def test_the_end_of_the_process_waits_for_what_was_given() -> None:
    program = (
        "import time; from three_mode.file_thread import FileThread; thread = FileThread('a file')\n"
        "thread.submit(lambda: time.sleep(0.3)); thread.submit(lambda: print('written', flush=True))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "written\n"
