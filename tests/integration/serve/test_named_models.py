"""`three-mode serve --model`, given several times: files, agents, and models of several providers, each under the name
that requests use. What clients may ask is said at the start.
"""

import asyncio
import sys
from pathlib import Path
from typing import Self

import httpx
import pytest

from local_models.files.catalogue import TINY
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import refused
from three_mode import Agent, LLMRequest, Orchestrator, handler
from three_mode.testing import ScriptedProvider, Turn

TEXT = [{"role": "user", "content": "Hello!"}]


class Clerk(Agent):
    @handler
    async def chat_completion(self, request: LLMRequest) -> str:
        return "noted"


class Started:
    """The command, and what it said at the start."""

    def __init__(self, *arguments: str) -> None:
        self._port, self._arguments = free_port(), arguments
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}/v1", timeout=30)

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "three_mode.cli", "serve", "--port", str(self._port), *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert self._process.stderr is not None
        self.said = ""
        async with asyncio.timeout(60):
            while "models: " not in self.said:
                line = await self._process.stderr.readline()
                assert line, self.said
                self.said += line.decode()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.aclose()
        self._process.kill()
        await self._process.communicate()

    async def listed(self) -> list[str]:
        return [model["id"] for model in (await self.http.get("/models")).json()["data"]]

    async def answer(self, model: str) -> str:
        body = {"model": model, "messages": TEXT, "max_tokens": 4}
        reply = (await self.http.post("/chat/completions", json=body)).json()
        return str(reply["error"]["code"] if "error" in reply else reply["choices"][0]["message"]["content"])


async def test_each_model_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=0) as orc:
        provider.always(Turn(text=("from afar",)))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k-of-the-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
        await orc.spawn(Clerk, name="clerk")
        await orc.spawn(Clerk, name="other")
        words = ("qwen=gguf:" + str(TINY), "tiny", "pen=agent:clerk", "clerk", "big=anthropic/claude-x", "anthropic/y")
        arguments = [word for model in words for word in ("--model", model)]
        async with Started("--bus", orc.name, *arguments) as started:
            names = ["anthropic/y", "big", "clerk", "pen", "qwen", "tiny"]
            assert f"models: {', '.join(names)}\n" in started.said
            assert await started.listed() == names
            assert await started.answer("pen") == await started.answer("clerk") == "noted"
            assert await started.answer("big") == await started.answer("anthropic/y") == "from afar"
            assert [seen.json["model"] for seen in provider.seen] == ["claude-x", "y"]
            for name in ("qwen", "tiny"):
                assert await started.answer(name) not in ("model_not_found", "permission_denied")
            for name in ("other", "agent:clerk", "agent:other", "anthropic/claude-x", "claude-x", "nothing"):
                assert await started.answer(name) == "model_not_found", name
            assert await started.answer("gguf:" + str(TINY)) == "permission_denied"


async def test_where_none_is_named_all_that_is_there_may_be_asked() -> None:
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Clerk, name="clerk")
        async with Started("--bus", orc.name, "--any-local-model") as started:
            assert "models: the catalogue (tiny" in started.said
            assert f"agents of {orc.name}" in started.said
            assert "clients may name any model file of this computer" in started.said
            assert {"agent:clerk", "tiny"} <= set(await started.listed())
            assert await started.answer("clerk") == "noted"
            assert await started.answer("gguf:" + str(TINY)) not in ("model_not_found", "permission_denied")


async def test_a_provider_that_is_said_says_whose_a_name_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = await refused("--port", str(free_port()), "--provider", "openai", "--model", "gpt-5-mini")
    assert "no key for openai" in said
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Turn(text=("from afar",)))
        async with Started("--base-url", provider.url + "/v1", "--model", "small") as started:
            assert await started.listed() == ["small"]
            assert await started.answer("small") == "from afar"
            assert await started.answer("large") == "model_not_found"
            assert len(provider.seen) == 1
