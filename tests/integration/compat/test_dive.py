"""Snippets of Dive's document, verbatim: only import lines, keys and addresses differ."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compat import dive_document as document
from tests.support.compat.snippets import run
from three_mode import CommunicationMode, LLMResponse, Orchestrator
from three_mode.compat.dive import LLM_CONFIG, ConnectionOptions, LLMConnection, LLMRequest
from three_mode.testing import ScriptedProvider

KEY = "test-key"  # pragma: allowlist secret


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedProvider]:
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider("http/1.1") as server:
        monkeypatch.setenv("V98_BASE_URL", server.url + "/v1")
        monkeypatch.setenv("V98_API_KEY", KEY)
        yield server


async def test_basic_usage(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run(document.BASIC, changes={"your-api-key": KEY})
    assert capsys.readouterr().out == "Hello world!\n"
    assert provider.seen[0].json["model"] == "claude-sonnet-4.5"
    assert provider.seen[0].headers["authorization"] == f"Bearer {KEY}"
    await names["llm"].close()


async def test_a_custom_provider(provider: ScriptedProvider) -> None:
    changes = {"https://custom-api.com": provider.url, "custom-key": KEY}
    names = await run(document.CUSTOM, {"LLMConnection": LLMConnection}, changes)
    async with names["llm"] as llm:
        assert (await llm.chat_completion(LLMRequest(model="m", messages=[{"role": "user", "content": "Hi"}]))).content
    assert provider.seen[0].path == "/v1/chat/completions"


async def test_agents_on_a_real_bus(provider: ScriptedProvider) -> None:
    names: dict[str, Any] = {"LLMRequest": LLMRequest, "CommunicationMode": CommunicationMode}
    for snippet in (document.ORCHESTRATOR, document.CODER, document.AGENTS):
        await run(snippet, names)
    async with Orchestrator(hosts=1) as orc:
        for model in ("claude-opus-4.5", "claude-sonnet-4.5"):
            await orc.model(model, name=model, provider="v98")
        dive, coder = names["DiveOrchestrator"](), names["DiveCoder"]()
        replies: list[LLMResponse] = [
            await dive.assign_task("Task data"),
            await coder.generate_code("a spec"),
            await dive.llm.chat_completion(names["request"]),
        ]
        assert [(reply.content, reply.mode.name) for reply in replies] == [
            ("Hello world!", "AI_AI"),
            ("Hello world!", "HUMAN_AI"),
            ("Hello world!", "AI_AI"),
        ]
        await dive.llm.close()
        await coder.llm.close()


async def test_the_settings_of_the_document_are_ours(provider: ScriptedProvider) -> None:
    names = await run(document.CONFIG, {"CommunicationMode": CommunicationMode})
    assert names["LLM_CONFIG"] == LLM_CONFIG
    async with LLMConnection(options=ConnectionOptions(config=LLM_CONFIG)) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}]))
    assert (reply.provider, provider.seen[0].json["model"]) == ("v98", "claude-sonnet-4.5")
