"""Coroutines that start at once: what they see is what a task would show them, on both loops."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from three_mode.agents.runtime.eager import Starter

Outcome = tuple[Any, BaseException | None]
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def start(request: pytest.FixtureRequest) -> Any:
    """Runs one coroutine through a Starter; gives its outcome and whether it needed a task."""
    loop = request.param()

    def run(work: Callable[[], Coroutine[Any, Any, Any]], cancel_after: float | None = None) -> tuple[Outcome, bool]:
        async def main() -> tuple[Outcome, bool]:
            starter = Starter(loop)
            done: asyncio.Future[Outcome] = loop.create_future()
            tasks: list[Any] = []

            def begin() -> None:
                finished = lambda result, error: done.set_result((result, error))  # noqa: E731
                tasks.append(starter.start(work(), contextvars.copy_context(), finished))
                if cancel_after == 0:
                    tasks[0].cancel()
                elif cancel_after is not None:
                    loop.call_later(cancel_after, tasks[0].cancel)

            loop.call_soon(begin)
            outcome = await asyncio.wait_for(done, 5)
            await asyncio.sleep(0)
            assert not starter.running
            starter.close()
            await asyncio.sleep(0)
            return outcome, tasks[0] is not None

        return loop.run_until_complete(main())

    yield run
    loop.close()


def test_one_that_never_waits_needs_no_task(start: Any) -> None:
    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        async with asyncio.timeout(1):  # noqa: ASYNC100  # what is tested is that it can be entered
            return "done"

    assert start(work) == (("done", None), False)


def test_the_task_is_the_same_before_and_after_waiting(start: Any) -> None:
    async def work() -> bool:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        middle = asyncio.current_task()
        await asyncio.sleep(0.001)
        return before is middle is asyncio.current_task()

    assert start(work) == ((True, None), True)


def test_a_timeout_entered_before_the_first_wait_ends_it(start: Any) -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)

    (_, error), _ = start(work)
    assert isinstance(error, TimeoutError)


def test_a_task_group_works_and_context_is_kept_in_all_steps(start: Any) -> None:
    async def child() -> int:
        await asyncio.sleep(0)
        return variable.get()

    async def work() -> int:
        token = variable.set(7)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
        variable.reset(token)  # fails in any other context than the one of the first step
        return task.result()

    assert start(work) == ((7, None), True)


@pytest.mark.parametrize("after", [0, 0.005])
def test_cancelling_reaches_what_is_awaited(start: Any, after: float) -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    (_, error), _ = start(work, after)
    assert isinstance(error, asyncio.CancelledError)
    assert seen == ["cancelled"]


def test_an_exception_is_an_outcome_at_once_and_later(start: Any) -> None:
    async def at_once() -> None:
        raise KeyError("now")

    async def later() -> None:
        await asyncio.sleep(0)
        raise KeyError("later")

    (_, error), waited = start(at_once)
    assert (str(error), waited) == ("'now'", False)
    (_, error), waited = start(later)
    assert (str(error), waited) == ("'later'", True)


async def test_one_that_cancels_itself_and_ends_harms_not_the_next() -> None:
    loop = asyncio.get_running_loop()
    starter = Starter(loop)
    outcomes: list[Outcome] = []

    async def selfish() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def innocent() -> str:
        await asyncio.sleep(0)
        return "fine"

    def begin() -> None:
        for work in (selfish(), innocent()):
            starter.start(work, contextvars.copy_context(), lambda *outcome: outcomes.append(outcome))

    loop.call_soon(begin)
    await asyncio.sleep(0.01)
    assert outcomes == [(None, None), ("fine", None)]
    starter.close()
    await asyncio.sleep(0)


async def test_a_batch_keeps_the_contexts_apart() -> None:
    loop = asyncio.get_running_loop()
    starter = Starter(loop)
    seen: list[int] = []
    waiting: list[asyncio.Task[None]] = []
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        seen.append(variable.get())
        variable.set(number)
        if number == 2:
            await asyncio.sleep(0.001)
            seen.append(variable.get())
        if number == 3:
            raise ValueError(number)

    def suspended(task: "asyncio.Task[None]", context: contextvars.Context) -> Callable[[Any, Any], None]:
        waiting.append(task)
        return lambda result, error: None

    loop.call_soon(
        lambda: starter.start_each(map(work, range(5)), contextvars.copy_context(), suspended, failures.append)
    )
    await asyncio.sleep(0.02)
    assert seen == [0, 0, 0, 0, 0, 2]
    assert len(waiting) == 1
    assert [str(error) for error in failures] == ["3"]
    starter.close()
    await asyncio.sleep(0)


async def test_each_of_a_batch_ends_as_itself() -> None:
    """Those that wait go on alone, each with a task, a context and an end of its own; the rest have run meanwhile."""
    loop = asyncio.get_running_loop()
    starter = Starter(loop)
    order: list[str] = []
    ends: dict[str, Outcome] = {}
    failures: list[str] = []
    unlike = contextvars.ContextVar[Any]("unlike")

    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise TypeError("ask me not")

        __hash__ = None  # type: ignore[assignment]

    async def work(name: str) -> str:
        order.append(name)
        if name.startswith("wait"):
            task = asyncio.current_task()
            await asyncio.sleep(0.001)
            assert asyncio.current_task() is task
        if name.endswith("raise"):
            raise ValueError(name)
        if name == "set":
            unlike.set(Incomparable())
        return f"{name} {isinstance(unlike.get(), Incomparable)}"

    names = ["at once", "wait", "raise", "wait, raise", "set", "wait for the last"]

    def suspended(task: "asyncio.Task[None]", context: contextvars.Context) -> Callable[[Any, Any], None]:
        name = order[-1]
        return lambda result, error: ends.update({name: (result, error)})

    def begin() -> None:
        unlike.set(Incomparable)
        failed = lambda error: failures.append(str(error))  # noqa: E731
        starter.start_each(map(work, names), contextvars.copy_context(), suspended, failed)
        assert order == names

    loop.call_soon(begin)
    await asyncio.sleep(0.02)
    assert failures == ["raise"]
    assert ends.pop("wait, raise")[1].args == ("wait, raise",)  # type: ignore[union-attr]
    assert ends == {"wait": ("wait False", None), "wait for the last": ("wait for the last False", None)}
    assert not starter.running
    starter.close()
    await asyncio.sleep(0)


async def test_inside_a_task_that_task_steps_aside() -> None:
    starter = Starter(asyncio.get_running_loop())
    outer = asyncio.current_task()
    outcomes: list[Outcome] = []

    async def work() -> bool:
        inner = asyncio.current_task()
        await asyncio.sleep(0)
        return inner is not outer and inner is asyncio.current_task()

    starter.start(work(), contextvars.copy_context(), lambda *outcome: outcomes.append(outcome))
    assert asyncio.current_task() is outer
    await asyncio.sleep(0.01)
    assert outcomes == [(True, None)]
    starter.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("inner_waits", [False, True])
@pytest.mark.parametrize("outer_waits", [False, True])
async def test_what_runs_may_start_others(inner_waits: bool, outer_waits: bool) -> None:
    """Each sees a task of its own, from beginning to end, whichever of them has to wait."""
    starter = Starter(asyncio.get_running_loop())
    outcomes: dict[str, Outcome] = {}
    tasks: dict[str, Any] = {}

    def start(name: str, work: Coroutine[Any, Any, Any]) -> None:
        def finished(*outcome: Any) -> None:
            outcomes[name] = outcome

        starter.start(work, contextvars.copy_context(), finished)

    async def inner() -> str:
        tasks["inner"] = asyncio.current_task()
        if inner_waits:
            await asyncio.sleep(0)
        assert tasks["inner"] is asyncio.current_task()
        return "in"

    async def outer() -> str:
        tasks["outer"] = asyncio.current_task()
        start("inner", inner())
        assert tasks["outer"] is asyncio.current_task()
        if outer_waits:
            await asyncio.sleep(0)
        assert tasks["outer"] is asyncio.current_task()
        return "out"

    for _ in range(3):
        outcomes.clear()
        start("outer", outer())
        await asyncio.sleep(0.01)
        assert outcomes == {"inner": ("in", None), "outer": ("out", None)}
        assert tasks["inner"] is not tasks["outer"]
    assert not starter.running
    starter.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("by", ["its caller", "itself"])
async def test_one_that_is_cancelled_in_the_turn_that_began_it_ends(by: str) -> None:
    """Also when no task stood by, and the one that was made for it has not had a step yet."""
    starter = Starter(asyncio.get_running_loop())
    outcomes: list[Outcome] = []

    async def work() -> None:
        task = asyncio.current_task()
        if by == "itself" and task is not None:
            task.cancel()
        await asyncio.sleep(5)

    def begin() -> None:
        for _ in range(3):
            task = starter.start(work(), contextvars.copy_context(), lambda *outcome: outcomes.append(outcome))
            assert task is not None
            if by == "its caller":
                task.cancel()

    asyncio.get_running_loop().call_soon(begin)
    await asyncio.sleep(0.01)
    assert [type(failure) for _, failure in outcomes] == [asyncio.CancelledError] * 3
    assert not starter.running
    starter.close()
    await asyncio.sleep(0)
