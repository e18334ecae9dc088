"""The tool loop with a model of this computer, whose tools have names that it was never trained on."""

from typing import Annotated, Any

import msgspec
import pytest

from tests.support.local_models.models import TINY, opened, user
from three_mode import LLMConnection, LLMRequest, Orchestrator
from three_mode.messages import Tool
from three_mode.tools import FunctionTool, RunReply, ToolFinished, Tools

QUESTION = "What time is it and what's 2+2?"
Digit = Annotated[int, msgspec.Meta(ge=0, le=9)]


def get_time() -> str:
    """The time now."""
    return "noon"


def calculator(a: Digit, b: Digit) -> int:
    """The sum of two digits."""
    return a + b


def weather(city: str) -> str:
    """The weather now."""
    return "rain" if city == "oslo" else "sun"


TOOLS = (get_time, calculator)


def asked(text: str = QUESTION, model: str = "tiny", **fields: Any) -> LLMRequest:
    defaults: dict[str, Any] = {"temperature": 0, "max_tokens": 80, "within": 30}
    return LLMRequest(model=model, messages=[{"role": "user", "content": text}], **(defaults | fields))


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_time_is_it_and_what_is_two_and_two(streamed: bool) -> None:
    async with LLMConnection() as llm:
        if streamed:
            stream = llm.run_stream(asked(), TOOLS, tool_choice=["get_time", "calculator"])
            assert len([event async for event in stream if isinstance(event, ToolFinished)]) == 2
            reply: RunReply = stream.response()
        else:
            reply = await llm.run(asked(), TOOLS, tool_choice=["get_time", "calculator"])
    assert [outcome.call.name for outcome in reply.outcomes] == ["get_time", "calculator"]
    assert [outcome.status for outcome in reply.outcomes] == ["ok", "ok"]
    assert reply.outcomes[0].result.content == "noon"
    assert (reply.ended, reply.rounds, reply.provider) == ("answer", 3, "local")
    assert [message.role for message in reply.messages] == [
        *("user", "assistant", "tool", "assistant", "tool"),
        *(["assistant"] if reply.parts else []),
    ]


async def test_a_required_call_is_one_of_any_tool() -> None:
    async with LLMConnection() as llm:
        reply = await llm.run(asked(), TOOLS, tool_choice="required")
    assert reply.outcomes
    assert {outcome.call.name for outcome in reply.outcomes} <= {"get_time", "calculator"}
    assert all(outcome.status == "ok" for outcome in reply.outcomes)


async def test_a_model_that_chooses_to_call_calls_what_there_is() -> None:
    """Left alone, it writes a call of `get_time` that is no JSON."""
    async with LLMConnection() as llm:
        reply = await llm.run(asked("Call get_time."), [get_time])
        assert [(outcome.call.name, outcome.status) for outcome in reply.outcomes] == [("get_time", "ok")]
        known = await llm.run(asked("What is the weather in oslo?"), [weather])
        assert [outcome.call.arguments for outcome in known.outcomes] == [{"city": "oslo"}]
        assert known.content == "rain"
        greeting = await llm.run(asked("Hello!"), [get_time, weather])
        assert not greeting.outcomes, "and it may still talk"
        assert greeting.content


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_every_call_that_begins_is_one_that_was_offered(isolated: bool, temperature: float) -> None:
    tool = FunctionTool(calculator)
    offered = ({"type": "function", "function": {"name": tool.name, "parameters": tool.schema}},)
    async with opened(TINY, isolated=isolated) as model:
        for seed in range(6):
            said = user(f"Call open_file with {seed}.")
            reply = await model.chat(said, tools=offered, temperature=temperature, seed=seed, max_tokens=120)
            assert "<tool_call>" not in reply.text
            for call in reply.tool_calls:
                assert call.name == "calculator"
                assert set(call.parsed) == {"a", "b"}
                assert all(number in range(10) for number in call.parsed.values())


async def test_tools_with_a_schema_that_no_grammar_holds_can_still_be_called() -> None:
    many = [
        Tool(f"tool_{n}", parameters={"type": "object", "properties": {"x": {"type": "string"}}}) for n in range(20)
    ]
    odd = {"type": "object", "properties": {"city": {"type": "string", "pattern": "[a-z]+"}}, "required": ["city"]}
    async with LLMConnection() as llm:
        for tools in ([Tool("weather", parameters=odd)], many):
            reply = await llm.chat_completion(asked("Hello!", tools=tools))
            assert reply.content
        reply = await llm.chat_completion(
            asked("What is the weather in oslo?", tools=[Tool("weather", parameters=odd)])
        )
    assert [call.arguments for call in reply.tool_calls] == [{"city": "oslo"}]


async def test_a_model_on_the_bus_runs_tools_of_its_caller() -> None:
    async with Orchestrator(hosts=1) as orc:
        await orc.model("tiny", name="brain")
        reply = await orc.llm.run(asked(model="agent:brain"), Tools(TOOLS), tool_choice=["get_time", "calculator"])
    assert [outcome.status for outcome in reply.outcomes] == ["ok", "ok"]
    assert reply.ended == "answer"


async def test_a_model_of_this_computer_costs_nothing() -> None:
    async with LLMConnection() as llm:
        reply = await llm.run(asked(), TOOLS, tool_choice="get_time", budget=0.01)
    assert (reply.ended, [outcome.status for outcome in reply.outcomes]) == ("answer", ["ok"])
