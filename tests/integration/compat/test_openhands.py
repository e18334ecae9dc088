"""Snippets of OpenHands' document, verbatim, and what its text says of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compat import openhands_document as document
from tests.support.compat.snippets import run, run_plain
from three_mode.compat.openhands import LLM, AsyncLLM, LLMConfig, Metrics, ModelResponse, RouterLLM, StreamingLLM
from three_mode.errors import AuthenticationError, ConfigurationError, InvalidRequest, ServerError
from three_mode.testing import FOREVER, Answer, Fault, ScriptedProvider, ToolCall, Turn

KEY = "test-key"  # pragma: allowlist secret
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedProvider]:
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider("http/1.1") as server:
        for name in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{name}_BASE_URL", server.url + "/v1")
            monkeypatch.setenv(f"{name}_API_KEY", KEY)
        yield server


def quick(**settings: Any) -> LLMConfig:
    """A configuration whose retries wait for milliseconds."""
    return LLMConfig(**{"model": "gpt-4", "retry_min_wait": 0.01, "retry_max_wait": 0.02, **settings})


async def test_the_configuration_reaches_the_provider(provider: ScriptedProvider) -> None:
    names = await run(document.CONFIGURATION, {"LLMConfig": LLMConfig}, {"your-api-key": KEY})
    llm = AsyncLLM(names["llm_config"])
    await llm.async_completion(HELLO)
    sent = provider.seen[0]
    assert (sent.json["model"], sent.json["temperature"], sent.json["max_completion_tokens"]) == ("gpt-4", 0.7, 4096)
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(names["llm_config"])
    await llm.aclose()


async def test_basic_usage(provider: ScriptedProvider) -> None:
    names = await asyncio.to_thread(run_plain, document.BASIC)
    response, llm = names["response"], names["llm"]
    assert response.choices[0].message.content == response["choices"][0]["message"]["content"] == "Hello world!"
    assert response.usage.total_tokens == 15
    assert llm.metrics.accumulated_token_usage.prompt_tokens == 12
    await asyncio.to_thread(llm.close)


async def test_async_operations(provider: ScriptedProvider) -> None:
    names = await run(document.ASYNC, {"config": LLMConfig(model="gpt-4")})
    assert names["response"].choices[0].message.content == "Hello world!"
    await names["async_llm"].aclose()


async def test_streaming_responses(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run(document.STREAMING, {"config": LLMConfig(model="gpt-4")})
    assert capsys.readouterr().out == "Hello world!"
    assert names["chunk"]["usage"]["total_tokens"] == 15
    assert names["streaming_llm"].metrics.get()["calls"] == 1
    await names["streaming_llm"].aclose()


async def test_a_local_model_needs_no_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    llm = StreamingLLM(LLMConfig(model="tiny", temperature=0.0, max_output_tokens=8))
    response = await llm.async_completion(HELLO)
    text = "".join([chunk.choices[0].delta.get("content", "") async for chunk in llm.async_streaming_completion(HELLO)])
    assert text == response.choices[0].message.content
    assert response.three_mode.mode == "ai_pc"
    await llm.aclose()


async def test_the_listener_hears_of_each_retry_and_the_metrics_count_it(provider: ScriptedProvider) -> None:
    heard: list[tuple[int, int]] = []
    metrics = Metrics("gpt-4")
    llm = AsyncLLM(quick(num_retries=3), "a", metrics, lambda number, most: heard.append((number, most)))
    provider.next(Answer(status=500), times=2)
    await llm.async_completion(HELLO)
    assert heard == [(1, 3), (2, 3)]
    assert (metrics.calls, metrics.retries, metrics.failures) == (1, 2, 0)
    provider.next(Answer(status=500), times=4)
    with pytest.raises(ServerError):
        await llm.async_completion(HELLO)
    assert heard[2:] == [(1, 3), (2, 3), (3, 3)], "each call is counted from 1"
    assert (metrics.failures, metrics.error_rate) == (1, 0.5)
    metrics.reset()
    assert metrics.get()["calls"] == 0
    await llm.aclose()


async def test_a_cancelled_task_cancels_the_call_at_the_provider(provider: ScriptedProvider) -> None:
    provider.always(Turn(), fault=Fault(stall_before_head=FOREVER))
    llm = AsyncLLM(LLMConfig(model="gpt-4"))
    task = asyncio.create_task(llm.async_completion(HELLO))
    await provider.until(lambda server: bool(server.seen))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await provider.until(lambda server: bool(server.cancelled_requests))
    await llm.aclose()


async def test_the_providers_of_models(provider: ScriptedProvider) -> None:
    for model, sent in (
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("openai/gpt-4", "gpt-4"),
    ):
        llm = AsyncLLM(LLMConfig(model=model, max_output_tokens=9))
        await llm.async_completion([{"role": "system", "content": "Be brief."}, *HELLO])
        assert provider.seen[-1].json["model"] == sent
        assert provider.seen[-1].path == ("/v1/messages" if "claude" in model else "/v1/chat/completions")
        await llm.aclose()
    assert provider.seen[0].json["system"][0]["cache_control"]["type"] == "ephemeral", "caching_prompt"


async def test_tools_natively_and_in_the_prompt(provider: ScriptedProvider) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    native = AsyncLLM(LLMConfig(model="gpt-4"))
    provider.next(Turn(text=(), tool_calls=(ToolCall("add", {"a": 1}),), finish="tool_calls"))
    response = await native.async_completion(HELLO, tools=tools)
    assert response.choices[0].message.tool_calls[0].function.name == "add"
    assert provider.seen[0].json["tools"][0]["function"]["name"] == "add"
    told = StreamingLLM(LLMConfig(model="gpt-4", native_tool_calling=False))
    provider.next(Turn(text=('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',)))
    response = await told.async_completion(HELLO, tools=tools)
    assert response.choices[0].message.tool_calls[0].function.arguments == '{"a":1}'
    assert "tools" not in provider.seen[1].json
    with pytest.raises(InvalidRequest, match="not streamed"):
        await anext(told.async_streaming_completion(HELLO, tools=tools))
    await native.aclose()
    await told.aclose()


class ByLength(RouterLLM):
    def _select_llm(self, messages: Any) -> str:
        return {1: "primary", 2: "cheap"}.get(len(messages), "nobody")


async def test_a_router_chooses_for_each_call(provider: ScriptedProvider) -> None:
    router = ByLength(LLMConfig(model="gpt-4"), llms_for_routing={"cheap": LLMConfig(model="gpt-3.5-turbo")})
    await router.async_completion(HELLO)
    await router.async_completion([{"role": "system", "content": "Be brief."}, *HELLO])
    assert [seen.json["model"] for seen in provider.seen] == ["gpt-4", "gpt-3.5-turbo"]
    assert router.metrics.calls == 2
    assert router.primary_llm.config.model == "gpt-4"
    with pytest.raises(ConfigurationError, match="one of primary, cheap"):
        await router.async_completion(HELLO * 3)
    await router.aclose()
    with pytest.raises(TypeError, match="_select_llm"):
        RouterLLM(LLMConfig(model="gpt-4"))


async def test_a_missing_key_is_an_error_of_authentication(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    llm = AsyncLLM(LLMConfig(model="gpt-4"))
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        await llm.async_completion(HELLO)
    await llm.aclose()


def test_an_entry_that_a_reply_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no 'choice'; it has choices"):
        ModelResponse(choices=[]).choice  # noqa: B018
    assert "main" in repr(LLM(LLMConfig(model="gpt-4"), "main"))
