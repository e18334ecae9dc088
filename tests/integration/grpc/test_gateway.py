"""Gateways: the openai SDK in, gRPC between two endpoints, and a provider's HTTP at the end."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, LLMRequest, errors
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Fault, ScriptedProvider, Turn
from three_mode.testing import ToolCall as ScriptedCall
from three_mode.testing.script import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT: Any = [{"role": "user", "content": "Repeat: apple"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]


@asynccontextmanager
async def endpoint(connection: LLMConnection) -> AsyncIterator[int]:
    """An endpoint for a connection: HTTP and gRPC on one port."""
    port = free_port()
    async with connection, serve(App(Connected(connection), ServeOptions(port=port))):
        yield port


def turn(seen: Any) -> Turn | Answer:
    if seen.path.endswith("/models"):
        return Answer(pieces=(b'{"object": "list", "data": [{"id": "scripted", "object": "model"}]}',))
    model = seen.json["model"]
    if model == "limited":
        return Answer(status=429, headers=((b"retry-after", b"2"),), pieces=(b'{"error": {"message": "slow down"}}',))
    if seen.json.get("tools"):
        return Turn(text=(), tool_calls=(ScriptedCall("weather", {"city": "Paris"}),), finish="tool_calls")
    return Turn(text=("app", "le"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(turn)
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inner(provider: ScriptedProvider) -> AsyncIterator[int]:
    """gRPC in, HTTP out."""
    async with endpoint(LLMConnection(base_url=provider.url + "/v1", max_retries=0)) as port:
        yield port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sdk(inner: int) -> AsyncIterator[openai.AsyncOpenAI]:
    """HTTP in, gRPC out to the other endpoint."""
    async with endpoint(LLMConnection(base_url=f"grpc://127.0.0.1:{inner}", max_retries=0)) as port:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0) as client:
            yield client


async def test_whole_and_streamed(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="m", messages=TEXT, temperature=0.7, max_tokens=9)
    assert reply.choices[0].message.content == "apple"
    assert reply.usage is not None
    assert reply.usage.total_tokens == 15
    text = ""
    async for chunk in await sdk.chat.completions.create(model="m", messages=TEXT, stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert text == "apple"


async def test_all_of_the_request_arrives(sdk: openai.AsyncOpenAI, provider: ScriptedProvider) -> None:
    await sdk.chat.completions.create(
        model="m", messages=TEXT, temperature=0.7, top_p=0.9, max_tokens=9, stop=["x"], seed=5, tools=TOOLS
    )
    said = provider.seen[-1].json
    assert said["messages"] == TEXT
    assert (said["temperature"], said["top_p"], said["max_tokens"]) == (0.7, 0.9, 9)
    assert (said["stop"], said["seed"]) == (["x"], 5)
    assert said["tools"][0]["function"]["parameters"] == PARAMETERS


async def test_tools(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="m", messages=TEXT, tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert reply.choices[0].finish_reason == "tool_calls"


async def test_vectors_and_models(sdk: openai.AsyncOpenAI) -> None:
    found = await sdk.embeddings.create(model="m", input=["red", "blue"], encoding_format="float")
    assert len(found.data) == 2
    assert "scripted" in [model.id async for model in sdk.models.list()]


async def test_a_refusal_comes_through_both(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await sdk.chat.completions.create(model="limited", messages=TEXT)
    assert float(caught.value.response.headers["retry-after"]) == pytest.approx(2, abs=1)


async def test_use_grpc_finds_it_on_the_same_port(inner: int) -> None:
    async with LLMConnection(base_url=f"http://127.0.0.1:{inner}/v1", use_grpc=True) as llm:
        request = LLMRequest(model="m", messages=TEXT)
        reply = await llm.chat_completion(request)
        assert (reply.content, reply.steps[0].why) == ("apple", "over gRPC")
        assert await llm.stream(request).text() == "apple"
        with pytest.raises(errors.RateLimit) as caught:
            await llm.chat_completion(LLMRequest(model="limited", messages=TEXT, within=1.0))
        assert caught.value.retry_after == pytest.approx(2, abs=1)


async def test_a_cancel_reaches_the_provider_through_both(sdk: openai.AsyncOpenAI, provider: ScriptedProvider) -> None:
    before = len(provider.seen)
    provider.next(Turn(text=tuple("abcdefgh")), fault=Fault(stall_after=4))
    stream = await sdk.chat.completions.create(model="m", messages=TEXT, stream=True)
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(10):
        while len(provider.seen) <= before or not provider.seen[-1].cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_command(inner: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", "three_mode.cli", "serve", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, "--base-url", f"grpc://127.0.0.1:{inner}", stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            assert b"serving on" in await process.stderr.readline()
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0) as client:
            reply = await client.chat.completions.create(model="m", messages=TEXT)
            assert reply.choices[0].message.content == "apple"
    finally:
        process.terminate()
        await process.communicate()
