"""The tool loop over every wire format, on a real socket: the seed's question, streamed and whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.providers.servers import connected
from three_mode import LLMConnection, LLMRequest
from three_mode.errors import RateLimit
from three_mode.messages import TextDelta, ToolResult
from three_mode.testing import Answer, Fault, ScriptedProvider, Seen, ToolCall, Turn
from three_mode.testing.wire import rate_limited
from three_mode.tools import RunReply, ToolFinished, Tools

WIRES = ("openai", "anthropic", "gemini", "ollama")
QUESTION = "What time is it and what's 2+2?"


def get_time() -> str:
    """The time now."""
    return "12:30"


async def calculator(expression: str) -> int:
    """Computes a sum.

    expression: such as "2+2"
    """
    return sum(map(int, expression.split("+")))


CALLS = (ToolCall("get_time", {}, "a"), ToolCall("calculator", {"expression": "2+2"}, "b"))


def script(seen: Seen) -> Turn:
    """Calls both tools, and answers with what it reads of their results."""
    if b"12:30" not in seen.body:
        return Turn(text=("Let me ", "see."), tool_calls=CALLS, finish="tool_calls", input_tokens=10, output_tokens=4)
    return Turn(text=("It is 12:30, ", "and 2+2 is 4."), input_tokens=30, output_tokens=9)


def question(**fields: Any) -> LLMRequest:
    return LLMRequest(messages=[{"role": "user", "content": QUESTION}], model="m", **fields)


@asynccontextmanager
async def scripted(provider: str) -> AsyncIterator[tuple[LLMConnection, ScriptedProvider]]:
    async with connected(provider, "http/1.1") as (llm, server):
        server.always(script)
        yield llm, server


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", WIRES)
async def test_what_time_is_it_and_what_is_two_and_two(provider: str, streamed: bool) -> None:
    async with scripted(provider) as (llm, server):
        if streamed:
            async with llm.run_stream(question(), [get_time, calculator]) as stream:
                events = [event async for event in stream]
            reply = stream.response()
            texts = [event.text for event in events if isinstance(event, TextDelta)]
            assert "".join(texts) == "Let me see.It is 12:30, and 2+2 is 4."
            assert sum(isinstance(event, ToolFinished) for event in events) == 2
        else:
            reply = await llm.run(question(), [get_time, calculator])
        assert type(reply) is RunReply
        assert reply.content == "It is 12:30, and 2+2 is 4."
        assert (reply.provider, reply.ended, reply.rounds) == (provider, "answer", 2)
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (40, 13)
        assert [outcome.result.content for outcome in reply.outcomes] == ["12:30", "4"]
        assert [message.role for message in reply.messages] == ["user", "assistant", "tool", "assistant"]
        assert [step.kind for step in reply.steps] == ["attempt", "tool", "tool", "attempt"]
        assert [step.at for step in reply.steps] == sorted(step.at for step in reply.steps)
        assert len(server.seen) == 2
        offered, answered = server.seen[0].body, server.seen[1].body
        assert b"calculator" in offered
        assert b"The time now." in offered
        assert answered.index(b"get_time") < answered.index(b"12:30")


@pytest.mark.parametrize("provider", WIRES)
async def test_a_run_can_be_continued(provider: str) -> None:
    async with scripted(provider) as (llm, _):
        reply = await llm.run(question(), [get_time, calculator])
        more = LLMRequest(messages=[*reply.messages, {"role": "user", "content": "Sure?"}], model="m")
        again = await llm.run(more, [get_time, calculator])
        assert again.rounds == 1
        assert again.messages[:4] == reply.messages


@pytest.mark.parametrize("provider", WIRES)
async def test_failed_calls_go_back_too(provider: str) -> None:
    calls = (ToolCall("nothing", {}, "a"), ToolCall("calculator", {"expression": "x"}, "b"))

    def confused(seen: Seen) -> Turn:
        if b"there is no tool" in seen.body and b"ValueError" in seen.body:
            return Turn(text=("I cannot.",))
        return Turn(text=(), tool_calls=calls, finish="tool_calls")

    async with connected(provider, "http/1.1") as (llm, server):
        server.always(confused)
        reply = await llm.run(question(), [get_time, calculator])
        assert reply.content == "I cannot."
        assert [outcome.status for outcome in reply.outcomes] == ["unknown", "failed"]


@pytest.mark.parametrize("provider", WIRES)
async def test_a_limit_leaves_a_conversation_that_the_provider_takes(provider: str) -> None:
    async with connected(provider, "http/1.1") as (llm, server):
        server.always(Turn(text=(), tool_calls=CALLS, finish="tool_calls"))
        reply = await llm.run(question(), [get_time, calculator], most_rounds=2)
        assert (reply.ended, reply.rounds) == ("rounds", 2)
        results = [part for message in reply.messages for part in message.parts if isinstance(part, ToolResult)]
        assert len(results) == 4
        server.always(Turn())
        messages = [*reply.messages, {"role": "user", "content": "Enough."}]
        assert (await llm.chat_completion(LLMRequest(messages=messages, model="m"))).content == "Hello world!"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", WIRES)
async def test_the_deadline_of_a_run_reaches_the_provider(provider: str, streamed: bool) -> None:
    async with connected(provider, "http/1.1") as (llm, server):
        server.next(Turn(text=(), tool_calls=CALLS, finish="tool_calls"))
        server.always(Turn(), fault=Fault(stall_before_head=60))
        if streamed:
            stream = llm.run_stream(question(), [get_time, calculator], within=1.0)
            await stream.text()
            reply = stream.response()
        else:
            reply = await llm.run(question(), [get_time, calculator], within=1.0)
        assert (reply.ended, reply.rounds) == ("deadline", 2)
        assert reply.messages[-1].role == "tool"
        await server.until(lambda seen: bool(seen.cancelled_requests))


@pytest.mark.parametrize("provider", WIRES)
async def test_leaving_a_run_ends_the_call_at_the_provider(provider: str) -> None:
    async with connected(provider, "http/1.1") as (llm, server):
        server.next(Turn(text=(), tool_calls=CALLS, finish="tool_calls"))
        server.always(Turn(text=("x",) * 50), fault=Fault(stall_after=6))
        async with llm.run_stream(question(), [get_time, calculator]) as stream:
            async for event in stream:
                if event.text:
                    break
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert stream.response().rounds == 2


async def test_cancelling_a_run_ends_the_call_at_the_provider() -> None:
    async with connected("openai", "http/1.1") as (llm, server):
        server.next(Turn(text=(), tool_calls=CALLS, finish="tool_calls"))
        server.always(Turn(), fault=Fault(stall_before_head=60))
        task = asyncio.ensure_future(llm.run(question(), [get_time, calculator]))
        await server.until(lambda seen: len(seen.seen) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda seen: bool(seen.cancelled_requests))


async def test_policies_of_the_connection_hold_for_each_round() -> None:
    async with scripted("openai") as (llm, server):
        server.next(rate_limited("retry-after-ms", seconds=0.02))
        reply = await llm.run(question(), [get_time, calculator])
        assert reply.content.startswith("It is 12:30")
        assert "retry" in [step.kind for step in reply.steps]
        server.always(rate_limited(seconds=60))
        with pytest.raises(RateLimit):
            await llm.run(question(within=2.0), [get_time, calculator])


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_without_tools_has_them_by_its_prompt(streamed: bool) -> None:
    written = (
        'Let me see. <tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
        '<tool_call>{"name": "calculator", "arguments": {"expression": "2+2"}}</tool_call>'
    )

    def talk(seen: Seen) -> Turn:
        if b"<tool_result>12:30</tool_result>" in seen.body and b"<tool_result>4</tool_result>" in seen.body:
            return Turn(text=("It is 12:30, ", "and 2+2 is 4."))
        return Turn(text=(written[:30], written[30:90], written[90:]))

    async with connected("openai", "http/1.1") as (llm, server):
        server.always(talk)
        request = LLMRequest(messages=[{"role": "user", "content": QUESTION}], model="llama-2-7b")
        if streamed:
            stream = llm.run_stream(request, [get_time, calculator])
            await stream.text()
            reply = stream.response()
        else:
            reply = await llm.run(request, [get_time, calculator])
        assert reply.content == "It is 12:30, and 2+2 is 4."
        assert [outcome.status for outcome in reply.outcomes] == ["ok", "ok"]
        assert b'"tools"' not in server.seen[0].body


async def test_cut_arguments_are_a_result_and_the_model_tries_again() -> None:
    cut = (
        b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"length","message":'
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":'
        b'{"name":"calculator","arguments":"{\\"expression\\": \\"2+"}}]}}],"usage":{"prompt_tokens":1,'
        b'"completion_tokens":1,"total_tokens":2}}'
    )
    async with connected("openai", "http/1.1") as (llm, server):
        server.next(Answer(pieces=(cut,)))
        server.always(script)
        reply = await llm.run(question(), Tools([get_time, calculator]))
        assert [outcome.status for outcome in reply.outcomes] == ["arguments", "ok", "ok"]
        assert reply.content.startswith("It is 12:30")
