"""The official anthropic SDK against the endpoint, for each kind of model behind it; and our own client of the same.

Whole and streamed, with tools, images, thinking and counts; sync and async. Only the base URL is changed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import pytest
import pytest_asyncio

from tests.support.serve.endpoint import endpoint, free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.errors import NotFound
from three_mode.messages import Text, Thinking, ToolCall, Usage
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Answer, ScriptedProvider, Turn
from three_mode.testing import ToolCall as ScriptedCall

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"name": "weather", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
TEXT: Any = [{"role": "user", "content": "Repeat: apple"}]
CALL: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
PICTURE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cGljdHVyZQ=="}}


class Clerk(Agent):
    """An agent of ordinary code that is a model."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        said = request.messages[-1].text
        if request.tools:
            call = ToolCall("call_1", request.tools[0].name, {"city": "Paris"})
            return LLMResponse(parts=(call,), model="clerk", finish_reason="tool_calls", usage=Usage(4, 2))
        return LLMResponse(parts=(Text(said),), model="clerk", usage=Usage(4, 2))


def provider_turn(seen: Any) -> Turn:
    """A model that thinks, and calls the tool that it is offered until it has a result."""
    if seen.json.get("tools") and "tool_result" not in seen.body.decode():
        return Turn(text=(), thinking=("Let me ", "see."), tool_calls=(ScriptedCall("weather", {"city": "Paris"}),))
    return Turn(text=("app", "le"))


@dataclass
class Running:
    """The endpoint, and what stands behind it."""

    url: str
    provider: ScriptedProvider

    def client(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.url, api_key="unused", max_retries=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        provider.always(provider_turn)
        await orc.spawn(Clerk, name="clerk")
        async with LLMConnection("anthropic", "key", provider.url, bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus), ServeOptions(port=port))):
                yield Running(f"http://127.0.0.1:{port}", provider)


MODELS = ["claude-sonnet-5", "tiny", "agent:clerk"]


def ask_sync(url: str, model: str) -> dict[str, Any]:
    """What a program without a loop gets; the same as `ask_async`, verb by verb."""
    with anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0) as sdk:
        asked: Any = {"model": model, "max_tokens": 16}
        whole = sdk.messages.create(**asked, messages=TEXT)
        with sdk.messages.stream(**asked, messages=TEXT) as stream:
            events = list(stream)
            streamed = stream.get_final_message()
        called = sdk.messages.create(**asked | {"max_tokens": 64}, messages=CALL, tools=TOOLS)
        with sdk.messages.stream(**asked | {"max_tokens": 64}, messages=CALL, tools=TOOLS) as stream:
            called_streamed = stream.get_final_message()
    return locals()


async def ask_async(url: str, model: str) -> dict[str, Any]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0) as sdk:
        asked: Any = {"model": model, "max_tokens": 16}
        whole = await sdk.messages.create(**asked, messages=TEXT)
        async with sdk.messages.stream(**asked, messages=TEXT) as stream:
            events = [event async for event in stream]
            streamed = await stream.get_final_message()
        called = await sdk.messages.create(**asked | {"max_tokens": 64}, messages=CALL, tools=TOOLS)
        async with sdk.messages.stream(**asked | {"max_tokens": 64}, messages=CALL, tools=TOOLS) as stream:
            called_streamed = await stream.get_final_message()
    return locals()


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("model", MODELS)
async def test_whole_streamed_and_tools(running: Running, model: str, loop: bool) -> None:
    got = await (ask_async(running.url, model) if loop else asyncio.to_thread(ask_sync, running.url, model))
    for found in (got["whole"], got["streamed"]):
        assert found.id.startswith("msg_")
        assert "apple" in found.content[0].text
        assert found.stop_reason == "end_turn"
        assert found.usage.input_tokens > 0
        assert found.usage.output_tokens > 0
    assert got["whole"]._request_id == got["whole"].id
    kinds = [event.type for event in got["events"]]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    for found in (got["called"], got["called_streamed"]):
        assert found.stop_reason == "tool_use"
        call = found.content[-1]
        assert (call.type, call.name, call.input.keys()) == ("tool_use", "weather", {"city"})


async def test_thinking_a_call_and_its_result_go_back_to_the_provider_verbatim(running: Running) -> None:
    asked: Any = {"model": "claude-sonnet-5", "max_tokens": 3000, "tools": TOOLS}
    async with running.client() as sdk:
        async with sdk.messages.stream(**asked, messages=CALL) as stream:
            first = await stream.get_final_message()
        result: Any = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": [PICTURE]}
        said: Any = [*CALL, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        system: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        thinking: Any = {"type": "enabled", "budget_tokens": 2000}
        last = await sdk.messages.create(**asked, messages=said, system=system, thinking=thinking)
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    assert last.content[0].text == "apple"
    sent = running.provider.seen[-1].json
    assert sent["messages"] == [
        CALL[0],
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
            ],
        },
        {"role": "user", "content": [result]},
    ]
    assert sent["system"] == system
    assert sent["thinking"] == thinking
    assert sent["tools"] == TOOLS


async def test_tokens_are_counted_exactly_by_a_local_model_and_estimated_for_an_agent(running: Running) -> None:
    async with running.client() as sdk:
        local = await sdk.messages.count_tokens(model="tiny", messages=TEXT)
        answered = await sdk.messages.create(model="tiny", messages=TEXT, max_tokens=4)
        used = answered.usage
        assert local.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)
        assert local.model_extra == {"three_mode": {"exact": True}}
        agent = await sdk.messages.count_tokens(model="agent:clerk", messages=TEXT)
        assert agent.input_tokens > 0
        assert agent.model_extra == {"three_mode": {"exact": False}}


async def test_our_own_client_speaks_to_it_with_and_without_the_version(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
    request = LLMRequest(model="claude-sonnet-5", messages=CALL, tools=[{"name": "weather", "parameters": SCHEMA}])
    for base_url in (running.url, running.url + "/v1/", None):
        async with LLMConnection("anthropic", "key", base_url) as llm:
            whole = await llm.chat_completion(request)
            assert whole.parts[0] == Thinking("Let me see.", "c2lnbmVk", provider="anthropic")
            assert whole.tool_calls[0].arguments == {"city": "Paris"}
            counted = await llm.count(LLMRequest(model="tiny", provider="anthropic", messages=TEXT))
            assert counted is not None
            assert counted > 0
    async with LLMConnection("anthropic", "key", running.url + "/nowhere/v1") as llm:
        with pytest.raises(NotFound, match="/nowhere/v1"):
            await llm.chat_completion(request)


async def test_errors_have_the_shape_of_anthropic(running: Running) -> None:
    asked: Any = {"max_tokens": 4, "messages": TEXT}
    async with running.client() as sdk:
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await sdk.messages.create(model="agent:nobody", **asked)
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            await sdk.messages.create(model="gguf:/etc/hostname", **asked)
        with pytest.raises(anthropic.BadRequestError, match="top_p"):
            await sdk.messages.create(model="tiny", extra_body={"top_p": 7}, **asked)
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\]"):
            await sdk.messages.create(model="tiny", max_tokens=4, messages=[{"role": "user", "content": [PICTURE]}])
        with pytest.raises(anthropic.BadRequestError) as long:
            await sdk.messages.create(
                model="tiny", max_tokens=4, messages=[{"role": "user", "content": "word " * 9000}]
            )
    assert unknown.value.body["type"] == "error"  # type: ignore[index]
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    assert refused.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
    assert long.value.body["error"]["code"] == "context_length_exceeded"  # type: ignore[index]
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as http:
        for reply in (await http.post("/v1/messages", content=b"{"), await http.get("/v1/messages")):
            assert reply.json()["error"]["type"] == "invalid_request_error"
        assert (await http.post("/v1/messages/nowhere")).json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_client_is_not_told_where_the_provider_is(running: Running, path: str) -> None:
    running.provider.next(Answer(status=404, pieces=(b'{"type":"error","error":{"type":"not_found_error"}}',)))
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as http:
        reply = await http.post(path, json={"model": "gone", "max_tokens": 4, "messages": TEXT})
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
    assert str(running.provider.port) not in reply.text


async def test_a_draining_endpoint_says_come_again() -> None:
    async with endpoint() as there, httpx.AsyncClient(base_url=there.url, timeout=20) as http:
        assert await there.app.drain()
        reply = await http.post("/v1/messages", json={"model": "echo", "max_tokens": 4, "messages": TEXT})
        assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")
        assert reply.headers["retry-after"] == "1"


async def test_keys_places_and_broken_streams() -> None:
    asked: Any = {"max_tokens": 4, "messages": TEXT}
    async with endpoint(api_keys=frozenset(("right",)), max_body=2000) as there:
        async with anthropic.AsyncAnthropic(base_url=there.url, api_key="right", max_retries=0) as sdk:
            assert (await sdk.messages.create(model="echo", **asked)).usage.cache_read_input_tokens == 2
            with pytest.raises(anthropic.APIStatusError) as full:
                await sdk.messages.create(model="overloaded", **asked)
            assert (full.value.status_code, full.value.response.headers["retry-after"]) == (529, "2")
            with pytest.raises(anthropic.APIStatusError) as large:
                await sdk.messages.create(
                    model="echo", max_tokens=4, messages=[{"role": "user", "content": "x" * 3000}]
                )
            assert large.value.body["error"]["type"] == "request_too_large"  # type: ignore[index]
            with pytest.raises(anthropic.APIStatusError, match="provider went away"):
                async with sdk.messages.stream(model="broken", **asked) as stream:
                    await stream.get_final_message()
        async with anthropic.AsyncAnthropic(base_url=there.url, auth_token="right", api_key=None) as bearer:
            assert (await bearer.messages.create(model="echo", **asked)).content
        async with anthropic.AsyncAnthropic(base_url=there.url, api_key="wrong", max_retries=0) as sdk:
            with pytest.raises(anthropic.AuthenticationError) as wrong:
                await sdk.messages.create(model="echo", **asked)
            assert wrong.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]


async def test_a_client_that_leaves_mid_stream_cancels_the_work() -> None:
    async with endpoint() as there:
        async with anthropic.AsyncAnthropic(base_url=there.url, api_key="unused", max_retries=0) as sdk:
            async with sdk.messages.stream(model="forever", max_tokens=4, messages=TEXT) as stream:
                async for event in stream:
                    if event.type == "text":
                        break
            async with asyncio.timeout(10):
                await there.backend.cancelled.wait()
        metrics = there.app.metrics.text(0, 0).decode()
        assert 'route="/v1/messages"' in metrics


async def test_a_deadline_is_the_clients() -> None:
    async with endpoint() as there, httpx.AsyncClient(base_url=there.url, timeout=20) as http:
        body = {"model": "forever", "max_tokens": 4, "messages": TEXT}
        reply = await http.post("/v1/messages", json=body, headers={"three-mode-within": "0.2"})
        assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout_error")
        counted = await http.post("/v1/messages/count_tokens", json={"model": "echo", "messages": TEXT})
        assert json.loads(counted.content)["input_tokens"] > 0
