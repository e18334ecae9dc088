"""The official openai SDK against `three-mode serve`, for each kind of model behind it: a provider's, a local one, an
agent.

Whole and streamed, with tools, and embeddings; sync and async. Only the base URL is changed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Chunk, Embedded, EmbedRequest, Text, ToolCall, Usage, chunks_of
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import ScriptedProvider, Turn
from three_mode.testing import ToolCall as ScriptedCall
from three_mode.testing.wire.embeddings import vector_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
TEXT: Any = [{"role": "user", "content": "Repeat: apple"}]
CALL: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
TEXTS = ["red apple", "blue sky"]


class Clerk(Agent):
    """An agent of ordinary code that is a model: it answers, streams, calls tools and embeds."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        said = request.messages[-1].text
        if request.tools:
            call = ToolCall("call_1", request.tools[0].name, {"city": said.split()[-1].rstrip("?")})
            return LLMResponse(parts=(call,), model="clerk", finish_reason="tool_calls", usage=Usage(4, 2))
        return LLMResponse(parts=(Text(said),), model="clerk", usage=Usage(4, 2))

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        for chunk in chunks_of(await self.chat_completion(request)):
            yield [chunk]

    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((float(len(text)), 0.5) for text in request.texts), "clerk", Usage(2))


def provider_turn(seen: Any) -> Turn:
    """A provider's model that behaves: it calls the tool it is offered, and repeats otherwise."""
    if seen.json.get("tools"):
        return Turn(text=(), tool_calls=(ScriptedCall("weather", {"city": "Paris"}),))
    return Turn(text=("app", "le"))


@dataclass
class Running:
    """The endpoint, and what stands behind it."""

    url: str
    provider: ScriptedProvider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        provider.always(provider_turn)
        await orc.spawn(Clerk, 2, name="clerk")
        await orc.model("tiny", name="brain")
        async with LLMConnection(base_url=provider.url + "/v1", bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus), ServeOptions(port=port))):
                yield Running(f"http://127.0.0.1:{port}/v1", provider)


# A provider's model, a local one, an agent of code by its address and by its bare name, a local model as an agent.
MODELS = ["gpt-5", "tiny", "agent:clerk", "clerk", "agent:brain"]


def ask_sync(url: str, model: str) -> dict[str, Any]:
    """What a program without a loop gets; the same as `ask_async`, verb by verb."""
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as sdk:
        whole = sdk.chat.completions.create(model=model, messages=TEXT, temperature=0, max_tokens=16)
        streamed = sdk.chat.completions.create(
            model=model,
            messages=TEXT,
            temperature=0,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(streamed)
        called = sdk.chat.completions.create(model=model, messages=CALL, tools=TOOLS, temperature=0)
        with sdk.chat.completions.stream(model=model, messages=CALL, tools=TOOLS, temperature=0) as events:
            for _ in events:
                pass
            called_streamed = events.get_final_completion()
        vectors = sdk.embeddings.create(model=model, input=TEXTS)
        floats = sdk.embeddings.create(model=model, input=TEXTS, encoding_format="float")
    return locals()


async def ask_async(url: str, model: str) -> dict[str, Any]:
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as sdk:
        whole = await sdk.chat.completions.create(model=model, messages=TEXT, temperature=0, max_tokens=16)
        streamed = await sdk.chat.completions.create(
            model=model,
            messages=TEXT,
            temperature=0,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in streamed]
        called = await sdk.chat.completions.create(model=model, messages=CALL, tools=TOOLS, temperature=0)
        async with sdk.chat.completions.stream(model=model, messages=CALL, tools=TOOLS, temperature=0) as events:
            called_streamed = await events.get_final_completion()
        vectors = await sdk.embeddings.create(model=model, input=TEXTS)
        floats = await sdk.embeddings.create(model=model, input=TEXTS, encoding_format="float")
    return locals()


async def in_a_thread(url: str, model: str) -> dict[str, Any]:
    return await asyncio.to_thread(ask_sync, url, model)


@pytest.mark.parametrize("model", ["tiny", "agent:brain"])
async def test_what_tokens_scored_comes_whole_and_streamed(running: Running, model: str) -> None:
    asked: Any = {"model": model, "messages": TEXT, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    async with openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0) as sdk:
        choice = (await sdk.chat.completions.create(**asked)).choices[0]
        async with sdk.chat.completions.stream(**asked) as events:
            streamed = (await events.get_final_completion()).choices[0]
    for found in (choice, streamed):
        assert found.logprobs is not None
        assert found.logprobs.content is not None
        assert "".join(one.token for one in found.logprobs.content).strip() == "apple"
        assert all(len(one.top_logprobs) == 2 for one in found.logprobs.content)


async def test_an_answer_goes_back_as_a_client_wrote_it_down(running: Running) -> None:
    """With every field that the SDK knows, null or empty, and what it thought; and with defaults that are said."""
    async with openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0) as sdk:
        first = await sdk.chat.completions.create(model="tiny", messages=TEXT, temperature=0)
        said = first.choices[0].message.model_dump() | {"annotations": [], "reasoning_content": "A fruit."}
        assert None in said.values()
        again = await sdk.chat.completions.create(
            model="tiny",
            messages=[*TEXT, said, *TEXT],
            temperature=0,
            parallel_tool_calls=True,
            response_format={"type": "text"},
            logit_bias={},
            modalities=["text"],
            service_tier="auto",
        )
    assert again.choices[0].message.content == "apple"


async def test_an_option_of_a_wrong_type_is_told_and_harms_nobody_else(running: Running) -> None:
    async with openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0) as sdk:
        for name, wrong in (("frequency_penalty", "x"), ("priority", "x"), ("logprobs", "x"), ("top_k", 1.5)):
            with pytest.raises(openai.BadRequestError) as told:
                await sdk.chat.completions.create(model="tiny", messages=TEXT, extra_body={name: wrong})
            assert told.value.param == name
        with pytest.raises(openai.BadRequestError, match="embeds without user") as told:
            await sdk.embeddings.create(model="tiny", input="a text", user="someone")
        assert told.value.param == "user"
        whole = await sdk.chat.completions.create(model="tiny", messages=TEXT, temperature=0)
    assert whole.choices[0].message.content == "apple"


@pytest.mark.parametrize("ask", [ask_async, in_a_thread])
@pytest.mark.parametrize("model", MODELS)
async def test_chat_stream_tools_and_embeddings(running: Running, model: str, ask: Callable[[str, str], Any]) -> None:
    got = await ask(running.url, model)

    text = got["whole"].choices[0].message.content
    assert "apple" in text
    assert got["whole"].usage.total_tokens > 0
    chunks = got["chunks"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == got["whole"].usage.total_tokens

    for completion in (got["called"], got["called_streamed"]):
        choice = completion.choices[0]
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls
        assert (call.type, call.function.name) == ("function", "weather")
        arguments = json.loads(call.function.arguments)
        assert arguments.keys() == {"city"}
        assert call.id
        if model not in (
            "tiny",
            "agent:brain",
        ):  # what so small a model copies is not what this test is about
            assert arguments == {"city": "Paris"}

    vectors = [item.embedding for item in got["vectors"].data]
    assert len(vectors) == 2
    assert vectors[0] != vectors[1]
    # Base64, which the SDK asks for by itself, has 32 bits; decimals have all.
    for packed, exact in zip(vectors, (item.embedding for item in got["floats"].data), strict=True):
        assert packed == pytest.approx(exact, rel=1e-6)
    assert got["vectors"].usage.prompt_tokens > 0
    if model == "gpt-5":
        assert vectors == [vector_of(text) for text in TEXTS]


async def test_dimensions_go_to_the_provider_and_are_refused_where_there_are_none(running: Running) -> None:
    async with openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0) as sdk:
        short = await sdk.embeddings.create(model="gpt-5", input="a text", dimensions=2, user="ann")
        assert len(short.data[0].embedding) == 2
        assert running.provider.seen[-1].json["user"] == "ann"
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            await sdk.embeddings.create(model="tiny", input="a text", dimensions=2)
        await sdk.embeddings.create(model="gpt-5", input=[[1, 2, 3]])
        assert running.provider.seen[-1].json["input"] == [[1, 2, 3]]  # tokens are the provider's to read
        with pytest.raises(openai.BadRequestError, match="input"):
            await sdk.embeddings.create(model="gpt-5", input=[["a", 2]])
        with pytest.raises(openai.NotFoundError):
            await sdk.embeddings.create(model="agent:nobody", input="a text")
