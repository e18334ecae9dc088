"""A shared call runs in the task of the one who began it, and is none of that task's business."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from three_mode.policies import Coalescer

Make = Callable[[], Coroutine[Any, Any, Any]]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def asking(make: Make, number: int, coalescer: Coalescer[Any] | None = None) -> "list[asyncio.Task[Any]]":
    shared: Coalescer[Any] = coalescer or Coalescer()
    return [asyncio.ensure_future(shared.run("k", make)) for _ in range(number)]


async def test_alone_it_needs_no_task_of_its_own() -> None:
    during: list[int] = []

    async def make() -> int:
        await asyncio.sleep(0.001)
        during.append(len(asyncio.all_tasks()))
        return 1

    before = len(asyncio.all_tasks())
    assert await Coalescer[int]().run("k", make) == (1, False)
    assert during == [before]


async def test_the_task_it_sees_stays_the_same_when_its_caller_leaves() -> None:
    seen: list[object] = []
    gate = asyncio.Event()

    async def make() -> int:
        seen.append(asyncio.current_task())
        await gate.wait()
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        return 1

    first, second = asking(make, 2)
    await settle()
    first.cancel()
    await settle()
    gate.set()
    assert await second == (1, True)
    assert len({id(each) for each in seen}) == 1
    assert first.cancelled()
    assert first not in seen


async def test_a_timeout_in_it_strikes_it_and_not_the_caller_who_left() -> None:
    async def make() -> str:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(10)
        except TimeoutError:
            return "in time"
        return "never"

    coalescer: Coalescer[str] = Coalescer()

    async def goes_on() -> str:
        task = asyncio.current_task()
        assert task is not None
        try:
            await coalescer.run("k", make)
        except asyncio.CancelledError:
            task.uncancel()
        await asyncio.sleep(0.05)  # here the timeout of the call that it began would strike
        return "went on"

    leaver = asyncio.ensure_future(goes_on())
    await settle()
    (joined,) = asking(make, 1, coalescer)
    await settle()
    leaver.cancel()
    assert await joined == ("in time", True)
    assert await leaver == "went on"


async def test_a_timeout_strikes_before_anybody_leaves() -> None:
    async def make() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            await asyncio.sleep(0)
            return "in time"
        return "never"

    first, second = asking(make, 2)
    assert await first == ("in time", False)
    assert await second == ("in time", True)
    assert first.cancelling() == 0


@pytest.mark.parametrize("others", [0, 1])
async def test_a_caller_leaves_in_the_moment_of_the_answer(others: int) -> None:
    ended: list[str] = []
    loop = asyncio.get_running_loop()
    waits_for: asyncio.Future[int] = loop.create_future()

    async def make() -> int:
        try:
            value = await waits_for
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("answered")
        return value

    first, *rest = asking(make, 1 + others)
    await settle()
    waits_for.set_result(7)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [await task for task in rest] == [(7, True)] * others
    assert ended == (["answered"] if others else ["cancelled"])


@pytest.mark.parametrize("others", [0, 1])
async def test_a_caller_leaves_while_the_call_only_lets_others_run(others: int) -> None:
    turns: list[int] = []

    async def make() -> int:
        for turn in range(50):
            turns.append(turn)
            await asyncio.sleep(0)
        return len(turns)

    first, *rest = asking(make, 1 + others)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [await task for task in rest] == [(50, True)] * others
    assert (len(turns) == 50) is bool(others)


async def test_who_leaves_alone_waits_for_the_end_of_the_call() -> None:
    ended: list[str] = []

    async def make() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.01)
            ended.append("cleaned up")

    (first,) = asking(make, 1)
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert ended == ["cleaned up"]


async def test_all_leave_in_one_moment() -> None:
    ended: list[str] = []
    coalescer: Coalescer[Any] = Coalescer()

    async def make() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("over")

    tasks = asking(make, 3, coalescer)
    await settle()
    for task in tasks:
        task.cancel()
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 3
    await settle()
    assert ended == ["over"]

    async def seven() -> int:
        return 7

    assert await coalescer.run("k", seven) == (7, False)


async def test_what_it_sets_in_its_context_can_be_taken_back_after_the_move() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    gate = asyncio.Event()

    async def make() -> int:
        token = variable.set(1)
        await gate.wait()
        variable.reset(token)  # an error in another context
        return variable.get()

    first, second = asking(make, 2)
    await settle()
    first.cancel()
    await settle()
    gate.set()
    assert await second == (0, True)


async def test_an_error_after_the_move_reaches_who_is_left() -> None:
    gate = asyncio.Event()

    async def make() -> int:
        await gate.wait()
        raise ValueError("no")

    first, second = asking(make, 2)
    await settle()
    first.cancel()
    await settle()
    gate.set()
    with pytest.raises(ValueError, match="no"):
        await second


async def test_one_shared_call_within_another() -> None:
    inner: Coalescer[int] = Coalescer()
    gate = asyncio.Event()

    async def within() -> int:
        await gate.wait()
        return 3

    async def make() -> int:
        value, _ = await inner.run("inner", within)
        return value + 1

    first, second = asking(make, 2)
    await settle()
    first.cancel()
    await settle()
    gate.set()
    assert await second == (4, True)
