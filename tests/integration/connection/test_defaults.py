"""Defaults of requests as they arrive: at a provider, at a local model, at an agent; and in the cache of replies."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import RequestDefaults, Text
from three_mode.policies import CacheOptions, FallbackOptions, Policies, Target
from three_mode.testing import ScriptedProvider


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider("http/1.1") as server:
        yield server


def options(provider: ScriptedProvider, **defaults: Any) -> ConnectionOptions:
    """Two accounts at one server; the second has defaults of its own."""
    url = provider.url + "/v1"
    own = RequestDefaults(temperature=0.9)
    return ConnectionOptions(
        accounts={
            "v98": Account(api_key="k", base_url=url),
            "openai": Account(api_key="k", base_url=url, defaults=own),
        },
        defaults=RequestDefaults(**defaults),
    )


def asked(**fields: Any) -> LLMRequest:
    return LLMRequest(messages=[{"role": "user", "content": "Hello!"}], **{"model": "m", **fields})


async def test_defaults_of_a_connection_and_of_a_provider(provider: ScriptedProvider) -> None:
    fallback = Policies(fallback=FallbackOptions(targets=(Target("openai", "gpt-5"), Target("openai", "gpt-4o"))))
    given = options(provider, temperature=0.2, max_tokens=7)
    async with LLMConnection("v98", options=given, policies=fallback) as llm:
        await llm.chat_completion(asked())
        await llm.stream(asked(temperature=0)).text()
    async with LLMConnection("openai", options=given) as llm:
        await llm.chat_completion(asked(model="gpt-4o"))
        await llm.chat_completion(asked(model="gpt-5"))
        await llm.chat_completion(asked(model="gpt-5", temperature=1))
    sent = [seen.json for seen in provider.seen]
    assert [body.get("temperature") for body in sent] == [0.2, 0, 0.9, None, 1]
    assert [body.get("max_tokens", body.get("max_completion_tokens")) for body in sent] == [7] * 5


async def test_connections_of_other_defaults_share_no_reply(provider: ScriptedProvider, tmp_path: Path) -> None:
    policies = Policies(cache=CacheOptions(path=tmp_path / "replies.db"))
    for temperature in (0.1, 0.2, 0.1):
        given = options(provider, temperature=temperature)
        async with LLMConnection("v98", options=given, policies=policies) as llm:
            await llm.chat_completion(asked())
    assert [seen.json["temperature"] for seen in provider.seen] == [0.1, 0.2]


async def test_a_local_model_has_them_too() -> None:
    given = ConnectionOptions(defaults=RequestDefaults(max_tokens=1, temperature=0, reasoning="low"))
    async with LLMConnection(options=given) as llm:
        assert (await llm.chat_completion(asked(model="tiny"))).usage.output_tokens == 1
        assert (await llm.chat_completion(asked(model="tiny", max_tokens=2))).usage.output_tokens == 2
        answers = await llm.local_model("tiny")
        assert answers is not None
        pieces = [chunk.text async for batch in answers(asked(), "tiny", 20.0) for chunk in batch]
        assert len([piece for piece in pieces if piece]) <= 1


class Mirror(Agent):
    """Says what it was asked for."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(f"{request.temperature} {request.max_tokens}"),), model="mirror")


async def test_an_agent_has_them_at_its_first_call_and_on_the_fast_path() -> None:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Mirror, name="mirror")
        given = ConnectionOptions(defaults=RequestDefaults(temperature=0.5))
        async with LLMConnection(bus=orc.bus, options=given) as llm:
            for _ in range(3):
                assert (await llm.chat_completion(asked(model="agent:mirror"))).content == "0.5 None"
                assert await llm.stream(asked(model="agent:mirror")).text() == "0.5 None"
            assert llm._fast_paths, "defaults do not cost the fast path"
            own = asked(model="agent:mirror", temperature=1, max_tokens=3)
            assert (await llm.chat_completion(own)).content == "1.0 3"
