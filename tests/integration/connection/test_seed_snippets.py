"""Code as users of `core.llm_connection` have it, with the import line and the key changed and nothing else.

The shapes are those of the documents that this runtime is asked for in: constructors, requests, modes, the classes that
hold a connection, the config file. The provider is scripted, on a real socket; where it is comes from the environment.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents.until import until
from three_mode import Agent, CommunicationMode, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.testing import ScriptedProvider

KEY = "test-key"  # pragma: allowlist secret
PROVIDERS = {"v98": "/v1", "aicoding": "/v1", "openai": "/v1", "anthropic": "/v1"}


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedProvider]:
    """Every provider of the snippets is this one: their addresses and keys come from the environment, as keys do in a
    shell.
    """
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider("http/1.1") as server:
        for name, path in PROVIDERS.items():
            monkeypatch.setenv(f"{name.upper()}_BASE_URL", server.url + path)
            monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
        yield server


@pytest.mark.parametrize("name", PROVIDERS)
async def test_basic_usage(provider: ScriptedProvider, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    llm = LLMConnection(
        provider=name,
        api_key=KEY,
    )
    request = LLMRequest(
        model='claude-sonnet-4.5',
        messages=[{'role': 'user', 'content': 'Hello!'}],
        mode=CommunicationMode.HUMAN_AI
    )  # fmt: skip
    response = await llm.chat_completion(request)
    print(response.content)  # noqa: T201

    assert capsys.readouterr().out == "Hello world!\n"
    assert provider.seen[0].json["model"] == "claude-sonnet-4.5"
    assert (response.provider, response.mode) == (name, CommunicationMode.HUMAN_AI)
    await llm.close()


async def test_custom_provider(provider: ScriptedProvider) -> None:
    llm = LLMConnection(
        base_url=provider.url + '/v1',
        api_key=KEY
    )  # fmt: skip
    response = await llm.chat_completion(LLMRequest(model="any", messages=[{"role": "user", "content": "Hello!"}]))
    assert response.content == "Hello world!"
    assert provider.seen[0].headers["authorization"] == f"Bearer {KEY}"
    await llm.close()


class DiveOrchestrator:
    """Holds a connection without a word about buses, and asks in the mode between agents."""

    def __init__(self) -> None:
        # The quotes are the document's, hence:
        self.llm = LLMConnection(provider='v98')  # fmt: skip

    async def assign_task(self, task: str) -> LLMResponse:
        request = LLMRequest(
            model='claude-opus-4.5',
            messages=[{'role': 'user', 'content': task}],
            mode=CommunicationMode.AI_AI
        )  # fmt: skip
        return await self.llm.chat_completion(request)


class DiveCoder:
    def __init__(self) -> None:
        # The quotes are the document's, hence:
        self.llm = LLMConnection(provider='v98')  # fmt: skip

    async def generate_code(self, spec: str) -> LLMResponse:
        request = LLMRequest(
            model='claude-sonnet-4.5',
            messages=[{'role': 'user', 'content': spec}],
            mode=CommunicationMode.HUMAN_AI
        )  # fmt: skip
        return await self.llm.chat_completion(request)


class Foreman(Agent):
    """The same classes inside an agent, in another process."""

    def __init__(self) -> None:
        self.orchestrator, self.coder = DiveOrchestrator(), DiveCoder()

    @handler
    async def work(self, task: str) -> list[str]:
        replies = [await self.orchestrator.assign_task(task), await self.coder.generate_code(task)]
        return [f"{reply.mode} {reply.model} {reply.content}" for reply in replies]


async def test_the_classes_that_hold_a_connection(provider: ScriptedProvider) -> None:
    async with Orchestrator(hosts=1) as orc:
        await orc.model("claude-opus-4.5", name="claude-opus-4.5", provider="v98")
        dive, coder = DiveOrchestrator(), DiveCoder()
        reply = await dive.assign_task("Task data")
        assert (reply.content, reply.mode) == ("Hello world!", CommunicationMode.AI_AI)
        assert (await coder.generate_code("a spec")).mode is CommunicationMode.HUMAN_AI
        assert [seen.json["model"] for seen in provider.seen] == ["claude-opus-4.5", "claude-sonnet-4.5"]

        foreman = await orc.spawn(Foreman, name="foreman")
        assert await foreman.ask(Foreman.work, "Task data", within=20) == [
            "ai_ai claude-opus-4.5 Hello world!",
            "human_ai claude-sonnet-4.5 Hello world!",
        ]
        await dive.llm.close()
        await coder.llm.close()
    await until(lambda: not provider.connections)


CONFIG = """
from core.llm_connection import CommunicationMode

LLM_CONFIG = {
    'default_provider': 'v98',
    'default_model': 'claude-sonnet-4.5',
    'default_mode': CommunicationMode.HUMAN_AI,
    'timeout': 30,
    'max_retries': 3
}
"""


async def test_the_config_file(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("llm_connection.py").write_text(CONFIG)  # noqa: ASYNC240
    monkeypatch.setenv("LLM_CONFIG", "llm_connection.py")
    llm = LLMConnection()
    response = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}]))
    assert (response.provider, response.content) == ("v98", "Hello world!")
    assert provider.seen[0].json["model"] == "claude-sonnet-4.5"
    await llm.close()


async def test_a_local_model_by_its_mode(provider: ScriptedProvider) -> None:
    async with LLMConnection(provider="v98") as llm:
        messages: Any = [{"role": "user", "content": "What is 21 + 34?"}]
        response = await llm.chat_completion(LLMRequest(model="tiny", messages=messages, mode=CommunicationMode.AI_PC))
    assert response.content
    assert response.mode is CommunicationMode.AI_PC
    assert not provider.seen
