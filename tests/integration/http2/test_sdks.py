"""The official SDKs of OpenAI and Anthropic on this transport, against the scripted provider.

They check both at once, and independently of our own client: the transport carries what they send, and the provider
answers in words that they understand.
"""

import asyncio
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.support.http2.servers import CERTIFICATES, serve
from three_mode.testing import Fault, ScriptedProvider, ToolCall, Turn, overloaded, rate_limited
from three_mode.testing.provider import Speaks
from transports.http2 import HTTPX2Transport

MESSAGES: Any = [{"role": "user", "content": "hi"}]
WEATHER = ToolCall("weather", {"city": "Łódź", "days": 3})
every = pytest.mark.parametrize("speaks", ["h2", "http/1.1"])


def carrier(provider: ScriptedProvider) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=HTTPX2Transport(verify=CERTIFICATES.client_context(), trust_env=False), timeout=5
    )


def openai_client(provider: ScriptedProvider, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k", http_client=carrier(provider), **options)


def anthropic_client(provider: ScriptedProvider, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", http_client=carrier(provider), **options)


@every
async def test_openai_replies(speaks: Speaks) -> None:
    async with serve(speaks) as provider, openai_client(provider) as client:
        provider.next(Turn(cached_tokens=4, reasoning_tokens=2))
        reply = await client.chat.completions.create(model="gpt", messages=MESSAGES)
        assert reply.choices[0].message.content == "Hello world!"
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (12, 3)
        assert reply.usage.prompt_tokens_details is not None
        assert reply.usage.prompt_tokens_details.cached_tokens == 4
        assert provider.seen[0].headers["authorization"] == "Bearer k"
        assert provider.seen[0].http_version == ("HTTP/2" if speaks == "h2" else "HTTP/1.1")


@every
async def test_openai_streams_text_and_tools(speaks: Speaks) -> None:
    async with serve(speaks) as provider, openai_client(provider) as client:
        provider.next(Turn(text=("a", "b"), tool_calls=(WEATHER,), keep_alives=2))
        stream = await client.chat.completions.create(
            model="gpt", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        text, arguments, finish, usage = "", "", None, None
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    arguments += call.function.arguments or ""
        assert (text, finish) == ("ab", "tool_calls")
        assert arguments == '{"city": "\\u0141\\u00f3d\\u017a", "days": 3}'
        assert usage is not None
        assert usage.total_tokens == 15


@every
async def test_anthropic_replies_and_streams(speaks: Speaks) -> None:
    async with serve(speaks) as provider, anthropic_client(provider) as client:
        provider.always(Turn(text=("a", "b"), thinking=("hm",), tool_calls=(WEATHER,), keep_alives=1))
        reply = await client.messages.create(model="claude", max_tokens=9, messages=MESSAGES)
        assert [block.type for block in reply.content] == ["thinking", "text", "tool_use"]
        assert reply.stop_reason == "tool_use"
        async with client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
        assert texts == ["a", "b"]
        assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
        tool: Any = final.content[2]
        assert tool.input == WEATHER.arguments
        assert final.usage.output_tokens == 3


async def test_openai_cancels_a_stream() -> None:
    async with serve("h2") as provider, openai_client(provider) as client:
        provider.next(Turn(), fault=Fault(stall_after=2))
        stream = await client.chat.completions.create(model="gpt", messages=MESSAGES, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await provider.until(lambda provider: bool(provider.cancelled_requests))
        assert provider.seen[0].reset_code == 0x8
        assert provider.accepted == 1
        assert (await client.chat.completions.create(model="gpt", messages=MESSAGES)).choices


async def test_anthropic_cancels_a_stream_and_a_task() -> None:
    async with serve("h2") as provider, anthropic_client(provider, max_retries=0) as client:
        provider.next(Turn(), fault=Fault(stall_after=2))
        provider.next(Turn(), fault=Fault(stall_after=0))
        async with client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream:
            async for _ in stream:
                break
        await provider.until(lambda provider: len(provider.cancelled_requests) == 1)
        task = asyncio.create_task(client.messages.create(model="claude", max_tokens=9, messages=MESSAGES))
        await provider.until(lambda provider: len(provider.seen) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.until(lambda provider: len(provider.cancelled_requests) == 2)
        assert [seen.reset_code for seen in provider.seen] == [0x8, 0x8]
        assert len(provider.connections) == 1


async def test_refusals_become_the_sdks_own_errors() -> None:
    async with serve("h2") as provider, openai_client(provider, max_retries=0) as client:
        provider.next(rate_limited("retry-after-ms", seconds=0.01))
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="gpt", messages=MESSAGES)
        assert caught.value.response.headers["retry-after-ms"] == "10"
        provider.next(Turn(error="it broke"))
        stream = await client.chat.completions.create(model="gpt", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="it broke"):
            [chunk async for chunk in stream]
        provider.next(Turn(), fault=Fault(cut_after=1))
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(model="gpt", messages=MESSAGES)
        provider.next(Turn(), fault=Fault(stall_before_head=60))
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="gpt", messages=MESSAGES, timeout=0.05)
    async with serve("h2") as provider, anthropic_client(provider, max_retries=0) as other:
        provider.next(overloaded())
        with pytest.raises(anthropic.InternalServerError, match="Overloaded"):
            await other.messages.create(model="claude", max_tokens=9, messages=MESSAGES)


async def test_an_sdk_retries_over_the_same_connection() -> None:
    async with serve("h2") as provider, openai_client(provider, max_retries=2) as client:
        provider.next(rate_limited("retry-after-ms", seconds=0.001), times=2)
        reply = await client.chat.completions.create(model="gpt", messages=MESSAGES)
        assert reply.choices[0].message.content == "Hello world!"
        assert (len(provider.seen), provider.accepted) == (3, 1)


async def test_hundreds_of_calls_at_once_share_few_connections() -> None:
    async with serve("h2") as provider, openai_client(provider) as client:
        replies = await asyncio.gather(
            *(client.chat.completions.create(model="gpt", messages=MESSAGES) for _ in range(200))
        )
        assert all(reply.choices[0].message.content == "Hello world!" for reply in replies)
        assert provider.accepted <= 3
