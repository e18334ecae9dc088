"""The loop over a scripted model: rounds, results, limits, and the reply that names what ended it."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.support.tools.models import ScriptedModel, asking, call, calls, says
from three_mode import errors
from three_mode.handling import HandledCall, current
from three_mode.messages import (
    LLMRequest,
    LLMResponse,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    from_json,
    from_msgpack,
    to_json,
    to_msgpack,
)
from three_mode.tools import RoundStarted, RunFinished, RunReply, ToolFinished, Tools, ToolStarted
from three_mode.tools.run import RunStream, run
from three_mode.tools.run_state import RunLimits


def get_time() -> str:
    """The time now."""
    return "12:30"


def calculator(expression: str) -> str:
    """Computes a sum."""
    return str(sum(map(int, expression.split("+"))))


BOTH = calls(call("get_time"), call("calculator", 1, expression="2+2"))


async def ran(
    *script: Any, tools: Any = (get_time, calculator), request: LLMRequest | None = None, **limits: Any
) -> RunReply:
    return await run(ScriptedModel(*script), request or asking(), tools, RunLimits(**limits))


async def test_calls_are_run_and_their_results_go_back_in_order() -> None:
    model = ScriptedModel(BOTH, says("It is 12:30, and 2+2 is 4."))
    reply = await run(model, asking(), [get_time, calculator], RunLimits())
    assert reply.content == "It is 12:30, and 2+2 is 4."
    assert (reply.ended, reply.rounds, reply.ended_why) == ("answer", 2, "")
    assert reply.usage == Usage(30, 12, cost=Decimal("0.03"))
    assert [message.role for message in reply.messages] == ["user", "assistant", "tool", "assistant"]
    assert model.seen[1].messages == reply.messages[:3]
    assert reply.messages[2].parts == (
        ToolResult("get_time-0", "12:30", "get_time"),
        ToolResult("calculator-1", "4", "calculator"),
    )
    assert [spec.name for spec in model.seen[0].tools] == ["get_time", "calculator"]
    assert [(outcome.status, outcome.round) for outcome in reply.outcomes] == [("ok", 1), ("ok", 1)]
    assert [step.kind for step in reply.steps] == ["tool", "tool"]


async def test_the_order_of_results_is_that_of_the_calls_and_events_come_as_tools_end() -> None:
    async def wait(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    asked = calls(call("wait", 0, seconds=0.1), call("wait", 1, seconds=0.0))
    stream = RunStream(ScriptedModel(asked, says("done")), asking(), [wait], RunLimits())
    events = [event async for event in stream]
    finished = [event.outcome.call.id for event in events if isinstance(event, ToolFinished)]
    assert finished == ["wait-1", "wait-0"]
    reply = stream.response()
    assert [part.call_id for part in reply.messages[2].parts if isinstance(part, ToolResult)] == ["wait-0", "wait-1"]
    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "RoundStarted"
    assert kinds.count("RoundStarted") == 2
    assert kinds.count("ToolStarted") == 2
    assert kinds[-1] == "RunFinished"
    assert "".join(event.text for event in events) == "done"


async def test_the_streamed_run_gives_the_same_reply() -> None:
    def script() -> ScriptedModel:
        return ScriptedModel(BOTH, says("It is 12:30."))

    whole = await run(script(), asking(), [get_time, calculator], RunLimits())
    async with RunStream(script(), asking(), [get_time, calculator], RunLimits()) as stream:
        assert await stream.text() == "It is 12:30."
    streamed = stream.response()
    for name in ("parts", "usage", "messages", "rounds", "ended", "finish_reason"):
        assert getattr(streamed, name) == getattr(whole, name), name


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        (call("nothing"), "unknown", "there is no tool 'nothing'; there are: get_time, calculator"),
        (call("calculator"), "arguments", "expression"),
        (call("calculator", expression="3", more=1), "arguments", "more"),
        (ToolCall("c", "calculator", raw='{"expression": "2+'), "arguments", "not JSON"),
        (call("calculator", expression="two"), "failed", "ValueError: invalid literal"),
    ],
)
async def test_what_goes_wrong_is_a_result_that_the_model_reads(asked: ToolCall, status: str, words: str) -> None:
    reply = await ran(calls(asked), says("sorry"))
    (outcome,) = reply.outcomes
    assert outcome.status == status
    assert outcome.result.is_error
    assert words in str(outcome.result.content)
    assert reply.messages[2].parts == (outcome.result,)
    assert reply.content == "sorry"


async def test_a_tool_that_takes_too_long_is_a_result_too() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    reply = await ran(calls(call("slow")), says("sorry"), tools=Tools([slow], each_within=0.05))
    assert reply.outcomes[0].status == "timeout"
    assert "within 0.05 seconds" in str(reply.outcomes[0].result.content)
    assert ended == [True]


async def test_a_long_result_is_cut_and_the_whole_is_kept() -> None:
    def read() -> str:
        return "x" * 1000

    reply = await ran(calls(call("read")), says("long"), tools=Tools([read], result_limit=100))
    (outcome,) = reply.outcomes
    assert (outcome.status, outcome.whole) == ("cut", "x" * 1000)
    assert not outcome.failed
    assert str(outcome.result.content).startswith("x" * 100 + "\n[cut: the first 100 of 1000")


async def test_a_model_may_read_on_in_what_was_cut() -> None:
    text = "".join(f"{number:04}" for number in range(100))

    def read() -> str:
        return text

    script = (
        calls(call("read")),
        calls(call("read_more", 0, call_id="read-0", start=100)),
        calls(call("read_more", 1, call_id="read_more-0", start=100)),
        calls(call("read_more", 2, call_id="nothing", start=0), call("read_more", 3, call_id="read-0", start=400)),
        says("done"),
    )
    model = ScriptedModel(*script)
    reply = await run(model, asking(), Tools([read], result_limit=100, pages=True), RunLimits())
    first, second, third, *wrong = (str(outcome.result.content) for outcome in reply.outcomes)
    note = 'read on with read_more(call_id="read-0", start=100)'
    assert first == f"{text[:100]}\n[cut: the first 100 of 400 characters; {note}]"
    assert second.startswith(text[100:200])
    assert third.startswith(text[200:300])
    assert "no result 'nothing' was cut" in wrong[0]
    assert "start is between 0 and 399" in wrong[1]
    assert [outcome.status for outcome in reply.outcomes] == ["cut", "cut", "cut", "arguments", "arguments"]
    assert [len(request.tools) for request in model.seen] == [1, 2, 2, 2, 2], "offered once there is something to read"
    plain = await ran(calls(call("read")), says("done"), tools=Tools([read], result_limit=100))
    assert "read_more" not in str(plain.outcomes[0].result.content)


@pytest.mark.parametrize(
    ("verdict", "words"), [(False, "the call was refused"), ("not on Sundays", "not on Sundays"), (True, "")]
)
@pytest.mark.parametrize("plain", [True, False])
async def test_calls_are_approved_or_refused(verdict: bool | str, words: str, plain: bool) -> None:
    asked = []

    def approve(call: ToolCall) -> bool | str:
        asked.append(call.name)
        return verdict

    async def approve_async(call: ToolCall) -> bool | str:
        return approve(call)

    reply = await ran(
        BOTH, says("well"), tools=Tools([get_time, calculator], approve=approve if plain else approve_async)
    )
    assert asked == ["get_time", "calculator"]
    for outcome in reply.outcomes:
        assert outcome.status == ("ok" if verdict is True else "refused")
        assert words in str(outcome.result.content)


async def test_questions_are_asked_one_after_the_other_and_take_none_of_a_tools_time() -> None:
    asking_now, most = 0, 0

    async def approve(call: ToolCall) -> bool:
        nonlocal asking_now, most
        asking_now += 1
        most = max(most, asking_now)
        await asyncio.sleep(0.05)
        asking_now -= 1
        return True

    reply = await ran(
        BOTH, says("well"), tools=Tools([get_time, calculator], approve=approve, each_within=0.04, at_once=2)
    )
    assert most == 1
    assert [outcome.status for outcome in reply.outcomes] == ["ok", "ok"]


async def test_an_error_of_the_approval_is_an_error_of_the_program() -> None:
    def approve(call: ToolCall) -> bool:
        raise LookupError("no policy")

    with pytest.raises(LookupError, match="no policy"):
        await ran(BOTH, says("well"), tools=Tools([get_time, calculator], approve=approve))


async def test_a_model_that_calls_for_ever_ends_with_the_rounds() -> None:
    reply = await ran(calls(call("nothing")), most_rounds=3)
    assert (reply.ended, reply.rounds) == ("rounds", 3)
    assert reply.ended_why == "the limit of 3 rounds is reached"
    assert reply.steps[-1].kind == "ended"
    assert [outcome.status for outcome in reply.outcomes] == ["unknown", "unknown", "not_run"]
    assert reply.messages[-1].role == "tool", "each call has a result, so that the conversation can go on"


async def test_a_budget_ends_a_run() -> None:
    reply = await ran(BOTH, says("never"), budget=0.02)
    assert (reply.ended, reply.rounds) == ("budget", 1)
    assert "$0.02 of the budget of $0.02 are spent" in reply.ended_why
    assert [outcome.status for outcome in reply.outcomes] == ["not_run", "not_run"]
    enough = await ran(BOTH, says("well"), budget=Decimal("0.021"))
    assert enough.ended == "answer"


async def test_a_budget_without_a_price_ends_a_run_and_says_why() -> None:
    reply = await ran(calls(call("get_time"), usage=Usage(5, 5)), says("never"), budget=1.0)
    assert reply.ended == "budget"
    assert "nobody knows what m costs" in reply.ended_why


async def test_a_budget_of_the_connection_ends_a_run_that_has_begun() -> None:
    refusal = errors.BudgetExceeded("the day's budget is spent")
    reply = await ran(BOTH, refusal)
    assert (reply.ended, reply.ended_why) == ("budget", "the day's budget is spent")
    assert reply.messages[-1].role == "tool"
    with pytest.raises(errors.BudgetExceeded):
        await ran(refusal)


async def test_a_deadline_ends_the_tools_and_the_run() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    asked = calls(call("slow"), call("get_time"), call("slow", 2))
    reply = await ran(asked, says("never"), tools=Tools([slow, get_time], at_once=2), within=0.2)
    assert reply.ended == "deadline"
    assert reply.ended_why == "the 0.2 seconds of the run are over"
    assert [outcome.status for outcome in reply.outcomes] == ["timeout", "ok", "timeout"]
    waiting = await ran(asked, says("never"), tools=Tools([slow, get_time], at_once=1), within=0.2)
    assert [outcome.status for outcome in waiting.outcomes] == ["timeout", "not_run", "not_run"]


async def test_calls_of_a_run_inherit_its_deadline() -> None:
    seen = []

    async def look() -> None:
        seen.append(current.get().remaining())

    def answer(request: LLMRequest) -> LLMResponse:
        seen.append(current.get().remaining())
        return says("done")

    await ran(calls(call("look")), answer, tools=Tools([look], each_within=5.0), within=9.0)
    assert seen[0] <= 5.0 < seen[1] <= 9.0
    assert current.get().deadline == float("inf"), "and nobody else does"


async def test_a_run_inside_a_handled_call_has_no_more_than_its_time() -> None:
    token = current.set(HandledCall("a/0", 1, time.monotonic() + 2.0))
    try:
        seen = []

        async def look() -> str:
            seen.append((current.get().agent, current.get().remaining()))
            return ""

        await ran(calls(call("look")), says("x"), tools=[look], within=60)
    finally:
        current.reset(token)
    assert seen[0][0] == "a/0"
    assert seen[0][1] <= 2.0


async def test_only_the_first_round_forces_a_call() -> None:
    model = ScriptedModel(BOTH, says("done"))
    await run(model, asking(), [get_time, calculator], RunLimits(tool_choice="required"))
    assert [request.tool_choice for request in model.seen] == ["required", None]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, [None, None, None]),
        ("auto", ["auto", "auto", "auto"]),
        ("none", ["none", "none", "none"]),
        ("get_time", ["get_time", None, None]),
        (["get_time", "calculator"], ["get_time", "calculator", None]),
        (["get_time", "auto"], ["get_time", "auto", "auto"]),
        ([], [None, None, None]),
    ],
)
async def test_choices_of_tools_are_those_of_the_first_rounds(given: Any, seen: list[str | None]) -> None:
    model = ScriptedModel(BOTH)
    await run(model, asking(), [get_time, calculator], RunLimits(tool_choice=given, most_rounds=3))
    assert [request.tool_choice for request in model.seen] == seen


async def test_a_choice_of_no_tool_is_an_error_at_once() -> None:
    with pytest.raises(errors.InvalidRequest, match="'nothing'"):
        await ran(says("x"), tool_choice=["get_time", "nothing"])
    with pytest.raises(errors.InvalidRequest, match="without tools"):
        await ran(says("x"), tools=[], tool_choice="required")


async def test_what_a_reply_said_goes_back_as_it_was() -> None:
    parts = (Thinking("hm", "signature", provider="anthropic"), Text("Let me see."), call("get_time"))
    model = ScriptedModel(LLMResponse(parts=parts, finish_reason="tool_calls"), says("done"))
    await run(model, asking(), [get_time], RunLimits())
    assert model.seen[1].messages[1] == Message("assistant", parts)


async def test_each_call_of_a_conversation_has_an_id_of_its_own() -> None:
    """Local models, and calls read from text, are counted anew in each reply."""
    again = calls(call("get_time"), call("get_time"), ToolCall("", "get_time"))
    reply = await ran(BOTH, again, again, says("done"))
    ids = [outcome.call.id for outcome in reply.outcomes]
    assert ids[:2] == ["get_time-0", "calculator-1"], "an id that is new stays"
    assert len(set(ids)) == 8
    assert all(ids)
    asked_ids = [part.id for message in reply.messages for part in message.parts if isinstance(part, ToolCall)]
    answered = [part.call_id for message in reply.messages for part in message.parts if isinstance(part, ToolResult)]
    assert asked_ids == answered == ids
    more = await ran(BOTH, says("done"), request=LLMRequest(messages=reply.messages, model="m"))
    assert not {outcome.call.id for outcome in more.outcomes} & set(ids)


async def test_the_reply_of_a_run_travels_as_itself_and_as_a_reply() -> None:
    reply = await ran(BOTH, says("done"))
    assert from_json(RunReply, to_json(reply)) == reply
    plain = from_msgpack(LLMResponse, to_msgpack(reply))
    assert (plain.content, plain.usage, plain.steps) == (reply.content, reply.usage, reply.steps)


async def test_a_paused_answer_goes_on() -> None:
    reply = await ran(says("Let me", finish_reason="pause"), says(" see."))
    assert (reply.rounds, reply.ended, reply.content) == (2, "answer", " see.")


async def test_an_empty_answer_is_an_answer() -> None:
    reply = await ran(LLMResponse())
    assert (reply.ended, reply.content, len(reply.messages)) == ("answer", "", 1)


async def test_a_run_without_tools_is_one_call() -> None:
    reply = await ran(says("hi"), tools=())
    assert (reply.rounds, reply.content) == (1, "hi")


async def test_a_tool_of_the_request_that_nobody_runs_is_an_error_at_once() -> None:
    request = asking(tools=[{"name": "other", "parameters": {"type": "object"}}])
    with pytest.raises(errors.InvalidRequest, match="'other'"):
        await ran(says("x"), request=request)


@pytest.mark.parametrize("limits", [{"most_rounds": 0}, {"budget": 0}])
async def test_limits_that_limit_nothing_are_errors(limits: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        RunLimits(**limits)


async def test_errors_of_the_model_are_raised() -> None:
    with pytest.raises(errors.AuthenticationError):
        await ran(BOTH, errors.AuthenticationError("no key"))
    stream = RunStream(
        ScriptedModel(BOTH, errors.AuthenticationError("no key")), asking(), [get_time, calculator], RunLimits()
    )
    with pytest.raises(errors.AuthenticationError):
        await stream.text()
    assert [message.role for message in stream.response().messages] == ["user", "assistant", "tool"]


async def test_a_run_that_has_not_begun_has_said_nothing() -> None:
    stream = RunStream(ScriptedModel(says("x")), asking(), [], RunLimits())
    assert (stream.response().rounds, stream.response().ended) == (0, "cancelled")
    await stream.aclose()


async def test_the_reply_so_far_has_the_answer_that_comes() -> None:
    stream = RunStream(ScriptedModel(BOTH, says("It is 12:30.")), asking(), [get_time, calculator], RunLimits())
    async for event in stream:
        if event.text:
            break
    so_far = stream.response()
    assert (so_far.content, so_far.ended, so_far.rounds) == ("It is 12:30.", "cancelled", 2)
    assert [message.role for message in so_far.messages] == ["user", "assistant", "tool"]
    await stream.aclose()
    left = stream.response()
    assert (left.content, left.ended, left.messages) == ("It is 12:30.", "cancelled", so_far.messages)


async def test_events_are_values() -> None:
    events = [
        event
        async for event in RunStream(ScriptedModel(BOTH, says("x")), asking(), [get_time, calculator], RunLimits())
    ]
    assert RoundStarted(1) in events
    assert ToolStarted(call("get_time"), 1) in events
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.reply.content == "x"
