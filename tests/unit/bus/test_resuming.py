"""Whoever awaits an answer goes on in the turn that brought it, as the task that it is."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from transports.bus.asking.calls import resume

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody's")


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Any:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


async def told(callback: Callable[[], Any]) -> Any:
    """What a callback of the loop returns: no task is running meanwhile."""
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def call() -> None:
        try:
            outcome.set_result(callback())
        except BaseException as error:  # noqa: BLE001  # handed to the test
            outcome.set_exception(error)

    asyncio.get_running_loop().call_soon(call)
    return await outcome


async def waiting(seen: list[Any]) -> "tuple[asyncio.Future[Any], asyncio.Task[Any]]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def wait() -> str:
        name.set("its own")
        try:
            seen.append(await future)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        seen.append((name.get(), asyncio.current_task() is task))
        return "ended"

    task = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0)
    return future, task


def test_one_who_waits_goes_on_at_once_in_its_own_task_and_context(runner: asyncio.Runner) -> None:
    async def main() -> None:
        seen: list[Any] = []
        future, task = await waiting(seen)

        def answer() -> list[Any]:
            resume(future, 7)
            return list(seen)

        assert await told(answer) == [7, ("its own", True)]
        assert await task == "ended"
        assert name.get() == "nobody's"

    runner.run(main())


def test_who_is_not_waiting_yet_finds_the_result(runner: asyncio.Runner) -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await told(lambda: resume(future, 7))
        assert await future == 7

    runner.run(main())


def test_several_who_wait_all_go_on_in_the_next_turn(runner: asyncio.Runner) -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        seen: list[int] = []

        async def wait(number: int) -> None:
            seen.append(number * await future)

        tasks = [asyncio.create_task(wait(number)) for number in (1, 2)]
        await asyncio.sleep(0)

        def answer() -> list[int]:
            resume(future, 7)
            return list(seen)

        assert await told(answer) == []
        await asyncio.gather(*tasks)
        assert seen == [7, 14]

    runner.run(main())


def test_inside_a_running_task_it_waits_for_its_turn(runner: asyncio.Runner) -> None:
    async def main() -> None:
        seen: list[Any] = []
        future, task = await waiting(seen)
        resume(future, 7)
        assert seen == []
        assert await task == "ended"
        assert seen == [7, ("its own", True)]

    runner.run(main())


def test_a_task_that_waits_again_is_resumed_again(runner: asyncio.Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]

        async def wait() -> int:
            return sum([await future for future in futures])

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)

        def answer() -> bool:
            for number, future in enumerate(futures):
                resume(future, number)
            return task.done()

        assert await told(answer)
        assert await task == 3

    runner.run(main())


def test_cancelled_while_it_waits_or_while_it_is_resumed(runner: asyncio.Runner) -> None:
    async def main() -> None:
        seen: list[Any] = []
        future, task = await waiting(seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (seen, future.cancelled()) == (["cancelled"], True)
        seen = []
        future, task = await waiting(seen)

        def answer() -> None:
            task.cancel()  # it waits still, and is told in the loop's next turn
            if not future.done():
                resume(future, 7)

        await told(answer)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    runner.run(main())


def test_what_ends_the_program_comes_out(runner: asyncio.Runner) -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await future
            raise SystemExit(3)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        with pytest.raises(SystemExit):
            await told(lambda: resume(future, 7))
        with pytest.raises(SystemExit):
            await task

    runner.run(main())


def test_an_error_of_the_task_stays_with_the_task(runner: asyncio.Runner) -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await future
            raise ValueError("its own affair")

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await told(lambda: resume(future, 7))
        with pytest.raises(ValueError, match="its own affair"):
            await task

    runner.run(main())
