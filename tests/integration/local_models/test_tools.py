"""Tool calls of a local model: left out, offered or forced, they come as those of any provider do."""

from typing import Any

import pytest

from tests.support.local_models.models import opened, user
from three_mode import LLMConnection, LLMRequest
from three_mode.errors import InvalidRequest
from three_mode.messages import Tool, ToolCall, fold

CITY = {"type": "string", "minLength": 1, "maxLength": 12}
WEATHER = Tool("weather", parameters={"type": "object", "properties": {"city": CITY}, "required": ["city"]})
CLOCK = Tool(
    "clock", parameters={"type": "object", "properties": {"zone": {"enum": ["utc", "cet"]}}, "required": ["zone"]}
)


def request(choice: str | None, text: str = "Hello!", **fields: Any) -> LLMRequest:
    messages = [{"role": "user", "content": text}]
    return LLMRequest(
        model="tiny",
        messages=messages,
        tools=[WEATHER, CLOCK],
        tool_choice=choice,
        temperature=0,
        max_tokens=80,
        within=30,
        **fields,
    )


def kept(calls: tuple[ToolCall, ...]) -> bool:
    """Every call is one of a tool that was offered, with the arguments that its schema asks for."""
    return all(
        (call.name == "weather" and 0 < len(call.arguments["city"]) <= 12)
        or (call.name == "clock" and call.arguments["zone"] in ("utc", "cet"))
        for call in calls
    )


@pytest.mark.parametrize(
    ("choice", "names"), [("weather", {"weather"}), ("clock", {"clock"}), ("required", {"weather", "clock"})]
)
async def test_a_greeting_is_answered_with_a_call_where_one_is_forced(choice: str, names: set[str]) -> None:
    async with LLMConnection() as llm:
        reply = await llm.chat_completion(request(choice))
        async with llm.stream(request(choice)) as stream:
            streamed = fold([chunk async for chunk in stream])
    assert reply.finish_reason == "tool_calls"
    assert reply.content in (None, "")
    assert reply.tool_calls
    assert {call.name for call in reply.tool_calls} <= names
    assert kept(reply.tool_calls)
    assert streamed.tool_calls == reply.tool_calls


@pytest.mark.parametrize("choice", [None, "auto", "none"])
async def test_a_greeting_is_answered_with_words_where_none_is_forced(choice: str | None) -> None:
    async with LLMConnection() as llm:
        reply = await llm.chat_completion(request(choice))
    assert not reply.tool_calls
    assert reply.finish_reason == "stop"
    assert reply.content


async def test_no_tool_is_shown_where_none_may_be_called() -> None:
    messages = user("Call weather with Oslo.")
    tools = ({"type": "function", "function": {"name": "weather", "parameters": WEATHER.parameters}},)
    async with opened() as model:
        assert await model.count(messages, tools=tools, tool_choice="none") == await model.count(messages)
        assert await model.count(messages, tools=tools) > await model.count(messages)
        reply = await model.chat(messages, tools=tools, tool_choice="none", temperature=0)
    assert not reply.tool_calls


async def test_a_call_that_is_forced_is_still_the_one_that_was_asked_for() -> None:
    async with LLMConnection() as llm:
        for choice in ("auto", "required", "weather"):
            (call,) = (await llm.chat_completion(request(choice, "Call weather with oslo."))).tool_calls
            assert (call.name, call.arguments) == ("weather", {"city": "oslo"})


async def test_a_sampled_call_keeps_to_the_schema_too() -> None:
    async with LLMConnection() as llm:
        for seed in range(8):
            hot = {"temperature": 5.0, "max_tokens": 400, "seed": seed}
            changed = LLMRequest(
                model="tiny",
                messages=[{"role": "user", "content": "Hello!"}],
                tools=[WEATHER, CLOCK],
                tool_choice="clock",
                within=30,
                **hot,
            )
            reply = await llm.chat_completion(changed)
            assert len(reply.tool_calls) == 1
            assert kept(reply.tool_calls)


async def test_what_else_the_answer_must_be_cannot_be_asked_beside_a_forced_call() -> None:
    async with LLMConnection() as llm:
        with pytest.raises(InvalidRequest, match="exclude each other"):
            await llm.chat_completion(request("required", extra={"grammar": 'root ::= "a"'}))
