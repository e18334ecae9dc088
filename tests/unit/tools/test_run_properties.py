"""What holds for every run, whatever model and tools do: each call has one result, in order, and the run ends."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tools.models import ScriptedModel, asking, calls, says
from three_mode.messages import ToolCall, ToolResult
from three_mode.tools import RunReply, Tools
from three_mode.tools.run import RunStream, run
from three_mode.tools.run_state import RunLimits


async def quick(x: int = 0) -> int:
    return x


async def waits(x: int = 0) -> str:
    await asyncio.sleep(0.0001 * (x % 3))
    return "x" * x


async def breaks() -> None:
    raise ValueError("broken")


async def cancels() -> None:
    raise asyncio.CancelledError


def plain(x: int) -> int:
    return x


TOOLS = [quick, waits, breaks, cancels, plain]
CALL = st.builds(
    ToolCall,
    st.sampled_from(["", "a", "b", "call_0"]),
    st.sampled_from(["quick", "waits", "breaks", "cancels", "plain", "nowhere"]),
    st.fixed_dictionaries({}, optional={"x": st.integers(0, 40) | st.just("many")}),
    st.none() | st.just('{"x": '),
)
ROUND = st.lists(CALL, min_size=1, max_size=7)


def check(reply: RunReply, most_rounds: int) -> None:
    open_calls: list[ToolCall] = []
    seen: set[str] = set()
    for message in reply.messages[1:]:
        if message.role == "assistant":
            assert not open_calls, "no answer before all results"
            open_calls = [part for part in message.parts if isinstance(part, ToolCall)]
            assert all(call.id and call.id not in seen for call in open_calls)
            seen |= {call.id for call in open_calls}
        else:
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            assert [result.call_id for result in results] == [call.id for call in open_calls]
            assert all(len(str(result.content)) < 200 for result in results)
            open_calls = []
    assert not open_calls
    assert len(reply.outcomes) == len(seen)
    assert (reply.ended == "answer") == (reply.content == "done")
    assert reply.rounds <= most_rounds
    for outcome in reply.outcomes:
        assert outcome.failed == (outcome.status not in ("ok", "cut"))


@settings(max_examples=60)
@given(st.lists(ROUND, max_size=4), st.integers(1, 4), st.integers(1, 4), st.booleans(), st.booleans())
def test_each_call_has_its_result_and_the_run_ends(
    script: list[list[ToolCall]], most_rounds: int, at_once: int, streamed: bool, approving: bool
) -> None:
    async def approve(call: ToolCall) -> bool | str:
        return call.name != "quick" or "never"

    tools = Tools(TOOLS, at_once=at_once, result_limit=20, most_calls=5, approve=approve if approving else None)
    model = ScriptedModel(*(calls(*asked) for asked in script), says("done"))
    limits = RunLimits(most_rounds=most_rounds, within=30)

    async def main() -> RunReply:
        if not streamed:
            return await run(model, asking(), tools, limits)
        stream = RunStream(model, asking(), tools, limits)
        await stream.text()
        left: set[Any] = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left
        return stream.response()

    check(asyncio.run(main()), most_rounds)


@settings(max_examples=60)
@given(st.lists(ROUND, min_size=1, max_size=3), st.integers(0, 30), st.integers(1, 4))
def test_wherever_a_run_is_left_its_messages_can_be_continued(
    script: list[list[ToolCall]], events: int, at_once: int
) -> None:
    model = ScriptedModel(*(calls(*asked) for asked in script), says("done"))
    tools = Tools(TOOLS, at_once=at_once, result_limit=20)

    async def main() -> RunReply:
        async with RunStream(model, asking(), tools, RunLimits(within=30)) as stream:
            async for _ in stream:
                events_left[0] -= 1
                if events_left[0] < 0:
                    break
        left: set[Any] = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left
        return stream.response()

    events_left = [events]
    reply = asyncio.run(main())
    if reply.ended == "cancelled":
        waiting = [call for message in reply.messages for call in message.parts if isinstance(call, ToolCall)]
        answered = [part for message in reply.messages for part in message.parts if isinstance(part, ToolResult)]
        assert [result.call_id for result in answered] == [call.id for call in waiting]
    else:
        check(reply, 5)
