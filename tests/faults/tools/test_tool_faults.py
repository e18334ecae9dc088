"""Tools that misbehave, and runs that are left: nothing hangs, and the model reads what happened."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.tools.models import ScriptedModel, asking, call, calls, says
from three_mode.messages import ToolCall
from three_mode.tools import RunReply, ToolFinished, Tools, ToolStarted
from three_mode.tools.run import RunStream, run
from three_mode.tools.run_state import RunLimits


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


async def one(tool: Any, **options: Any) -> RunReply:
    """A run that calls one tool once."""
    tools = Tools([tool], **options)
    return await run(
        ScriptedModel(calls(call(tools.tools[0].name)), says("well")), asking(), tools, RunLimits(within=20)
    )


async def raises_cancelled() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def exits() -> None:
    sys.exit(3)


def exits_on_a_thread() -> None:
    sys.exit(3)


def stops() -> None:
    raise StopIteration


async def stops_async() -> None:
    raise StopAsyncIteration


async def ends_a_generator() -> None:
    raise GeneratorExit


class OddError(BaseException):
    """No `Exception`."""


async def raises_oddly() -> None:
    raise OddError("odd")


def recurses() -> None:
    recurses()


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (raises_cancelled, "CancelledError"),
        (cancels_itself, "CancelledError"),
        (exits, "SystemExit: 3"),
        (exits_on_a_thread, "SystemExit: 3"),
        (stops, "StopIteration"),
        (stops_async, "StopAsyncIteration"),
        (ends_a_generator, "GeneratorExit"),
        (raises_oddly, "OddError: odd"),
        (recurses, "RecursionError"),
    ],
)
async def test_whatever_a_tool_raises_is_a_result(tool: Any, words: str) -> None:
    reply = await one(tool)
    assert reply.content == "well"
    assert reply.outcomes[0].status == "failed"
    assert words in str(reply.outcomes[0].result.content)
    assert not others()


async def test_a_tool_that_ignores_its_cancellation_is_left_alone() -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                pass

    reply = await one(stubborn, each_within=0.05)
    assert (reply.outcomes[0].status, reply.content) == ("timeout", "well")
    released.set()
    await asyncio.sleep(0.01)
    assert not others()


async def test_a_plain_function_that_hangs_holds_up_nobody() -> None:
    release = threading.Event()

    def hangs() -> None:
        release.wait(30)

    try:
        reply = await one(hangs, each_within=0.05)
    finally:
        release.set()
    assert (reply.outcomes[0].status, reply.content) == ("timeout", "well")
    assert not others()


async def test_the_loop_is_free_while_plain_functions_block() -> None:
    barrier = threading.Barrier(4, timeout=10)

    def together() -> int:
        return barrier.wait()  # all of them have to run at once

    asked = calls(*(call("together", number) for number in range(4)))
    reply = await run(ScriptedModel(asked, says("well")), asking(), Tools([together], at_once=4), RunLimits())
    assert [outcome.status for outcome in reply.outcomes] == ["ok"] * 4


async def test_a_tool_that_floods_is_cut() -> None:
    def floods() -> str:
        return "x" * 20_000_000

    async def floods_for_ever() -> AsyncIterator[str]:
        while True:
            yield "x" * 100_000

    for tool in (floods, floods_for_ever):
        reply = await one(tool, result_limit=1000)
        (outcome,) = reply.outcomes
        assert outcome.status == "cut"
        assert len(str(outcome.result.content)) < 1100
        assert len(outcome.whole or "") >= 10_000_000


async def test_a_result_that_cannot_be_sent_is_a_failure() -> None:
    def circular() -> list[Any]:
        found: list[Any] = []
        found.append(found)
        return found

    reply = await one(circular)
    assert reply.outcomes[0].status == "failed"
    assert "cannot be sent" in str(reply.outcomes[0].result.content)


async def test_a_hundred_calls_run_and_no_more_than_allowed_at_once() -> None:
    running = most = 0

    async def step(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (n % 3))
        running -= 1
        return n

    asked = calls(*(call("step", number, n=number) for number in range(100)))
    stream = RunStream(ScriptedModel(asked, says("well")), asking(), Tools([step], at_once=8), RunLimits())
    started = [event.call.id async for event in stream if isinstance(event, ToolStarted)]
    reply = stream.response()
    assert started == [f"step-{number}" for number in range(100)], "they begin in the order of the calls"
    assert [outcome.result.content for outcome in reply.outcomes] == [str(number) for number in range(100)]
    assert most == 8


async def test_more_calls_than_a_reply_may_have_are_not_run() -> None:
    async def step() -> str:
        return "ok"

    asked = calls(*(call("step", number) for number in range(5)))
    reply = await run(ScriptedModel(asked, says("well")), asking(), Tools([step], most_calls=3), RunLimits())
    assert [outcome.status for outcome in reply.outcomes] == ["ok"] * 3 + ["not_run"] * 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_a_run_with_eight_running_tools_leaves_no_task(streamed: bool) -> None:
    running, ended = 0, 0
    all_run = asyncio.Event()

    async def hangs() -> None:
        nonlocal running, ended
        running += 1
        if running == 8:
            all_run.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended += 1

    asked = calls(*(call("hangs", number) for number in range(12)))
    model, tools = ScriptedModel(asked, says("never")), Tools([hangs], at_once=8)
    work = (
        RunStream(model, asking(), tools, RunLimits()).text() if streamed else run(model, asking(), tools, RunLimits())
    )
    task = asyncio.ensure_future(work)
    await all_run.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (running, ended) == (8, 8)
    assert not others()


async def test_leaving_a_streamed_run_ends_its_tools() -> None:
    ended = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def quick() -> str:
        return "ok"

    asked = calls(call("hangs", 0), call("quick", 1), call("hangs", 2))
    async with RunStream(ScriptedModel(asked, says("never")), asking(), [hangs, quick], RunLimits()) as stream:
        async for event in stream:
            if isinstance(event, ToolFinished):
                break
    assert ended == [True, True]
    assert not others()
    reply = stream.response()
    assert [message.role for message in reply.messages] == ["user", "assistant", "tool"], "it can be continued"
    assert [outcome.status for outcome in reply.outcomes] == ["not_run", "ok", "not_run"]
    assert (reply.ended, reply.outcomes[0].result.content) == ("cancelled", "not run: the run was left")


async def test_leaving_while_a_question_is_open_ends_it() -> None:
    asked, ended = asyncio.Event(), []

    async def approve(call: ToolCall) -> bool:
        asked.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(call.id)
        return True

    async def quick() -> str:
        return "ok"

    model = ScriptedModel(calls(call("quick", 0), call("quick", 1)), says("never"))
    task = asyncio.ensure_future(run(model, asking(), Tools([quick], approve=approve), RunLimits()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["quick-0"]
    assert not others()


async def test_a_question_that_nobody_answers_ends_with_the_run() -> None:
    async def approve(call: ToolCall) -> bool:
        await asyncio.sleep(60)
        return True

    async def quick() -> str:
        return "ok"

    model = ScriptedModel(calls(call("quick", 0)), says("never"))
    reply = await run(model, asking(), Tools([quick], approve=approve), RunLimits(within=0.1))
    assert reply.ended == "deadline"
    assert reply.outcomes[0].status == "timeout"
    assert not others()


async def test_a_model_that_calls_the_same_unknown_tool_for_ever_is_stopped() -> None:
    model = ScriptedModel(calls(call("nowhere")))
    reply = await run(model, asking(), [], RunLimits(most_rounds=50))
    assert (reply.ended, len(model.seen)) == ("rounds", 50)
    assert {outcome.status for outcome in reply.outcomes} == {"unknown", "not_run"}


async def test_calls_with_one_id_are_both_answered() -> None:
    async def echo(text: str) -> str:
        return text

    asked = calls(ToolCall("same", "echo", {"text": "a"}), ToolCall("same", "echo", {"text": "b"}))
    reply = await run(ScriptedModel(asked, says("well")), asking(), [echo], RunLimits())
    assert [outcome.result.content for outcome in reply.outcomes] == ["a", "b"]
