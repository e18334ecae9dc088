"""Options of an orchestrator's connections: they reach `orc.llm`, `agent.llm` in every host, and models on the bus."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.agents import join
from three_mode.agents.host.lines import HostConfig
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.host_connection import read, read_model, written, written_model
from three_mode.options import (
    Account,
    Budget,
    CacheOptions,
    ConnectionOptions,
    FallbackOptions,
    LoadOptions,
    Lora,
    Policies,
    Prices,
    RequestDefaults,
    RetryOptions,
    Route,
    Target,
)
from three_mode.testing import Answer, ScriptedProvider
from transports.http2 import Limits, PoolOptions

KEY = "key-of-the-test"  # pragma: allowlist secret


class Asker(Agent):
    """Asks the model of its host."""

    @handler
    async def question(self, text: str) -> str:
        reply = await self.llm.chat_completion(request(text))
        assert isinstance(reply, LLMResponse)
        return reply.content


def request(text: str = "Hello!", **fields: Any) -> LLMRequest:
    return LLMRequest(messages=[{"role": "user", "content": text}], **fields)


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider("http/1.1") as server:
        yield server


def options(provider: ScriptedProvider) -> ConnectionOptions:
    return ConnectionOptions(
        config={"default_provider": "v98", "default_model": "m"},
        accounts={"v98": Account(api_key=KEY, base_url=provider.url + "/v1")},
        headers={"x-team": "blue"},
        defaults=RequestDefaults(temperature=0.25),
    )


async def test_they_reach_the_orchestrator_its_agents_and_its_models(provider: ScriptedProvider) -> None:
    policies = Policies(routes=(Route("both", (Target("v98", "routed"),)),))
    async with Orchestrator(hosts=2, llm=options(provider), policies=policies) as orc:
        await orc.llm.chat_completion(request())
        await orc.llm.chat_completion(request(model="both"))
        askers = await orc.spawn(Asker, 2, name="asker")
        assert [len(await asker.ask(Asker.question, "Hello!")) > 0 for asker in askers] == [True, True]
        await orc.model("served", name="brain")
        await orc.llm.chat_completion(request(model="agent:brain"))
        async with join(orc.name, llm=options(provider)) as joined:
            await joined.llm.chat_completion(request())
    assert [seen.json["model"] for seen in provider.seen] == ["m", "routed", "m", "m", "served", "m"]
    for seen in provider.seen:
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.headers["x-team"] == "blue"
        assert seen.json["temperature"] == 0.25


async def test_a_config_file_reaches_agents_and_models(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("V98_API_KEY", KEY)
    text = f"""
    default_provider = "v98"
    default_model = "m"
    [defaults]
    temperature = 0.5
    [providers.v98]
    base_url = "{provider.url}/v1"
    headers = {{ x-team = "blue" }}
    """
    (tmp_path / "three_mode.toml").write_text(text)
    async with Orchestrator(hosts=1) as orc:
        asker = await orc.spawn(Asker)
        await orc.model("served", name="brain")
        await asker.ask(Asker.question, "Hello!")
        await orc.llm.chat_completion(request(model="agent:brain"))
    assert [seen.json["model"] for seen in provider.seen] == ["m", "served"]
    for seen in provider.seen:
        assert (seen.headers["authorization"], seen.headers["x-team"]) == (f"Bearer {KEY}", "blue")
        assert seen.json["temperature"] == 0.5


async def test_headers_for_one_provider_are_not_sent_to_that_of_a_model(provider: ScriptedProvider) -> None:
    async with Orchestrator(hosts=1, llm=options(provider)) as orc:
        await orc.model("m", name="other", base_url=provider.url + "/v1")
        await orc.llm.chat_completion(request(model="agent:other"))
    assert "x-team" not in provider.seen[0].headers
    assert "authorization" not in provider.seen[0].headers


async def test_policies_and_loading_of_one_model(provider: ScriptedProvider) -> None:
    one = Policies(retry=RetryOptions(attempts=1))
    provider.always(Answer(status=500))
    async with (
        Orchestrator(
            hosts=1, llm=options(provider), policies=Policies(retry=RetryOptions(attempts=2, first=0.01))
        ) as orc,
        LLMConnection(bus=orc.bus, max_retries=0) as llm,
    ):
        for name, policies, tries in (("one", one, 1), ("two", None, 2)):
            await orc.model("m", name=name, policies=policies)
            before = len(provider.seen)
            with pytest.raises(ThreeModeError):
                await llm.chat_completion(request(model=f"agent:{name}"))
            assert len(provider.seen) - before == tries
        await orc.model("tiny", name="small", load=LoadOptions(context=256))
        with pytest.raises(ThreeModeError, match="255 fit"):
            await llm.chat_completion(request("word " * 100, model="agent:small"))


async def test_a_model_that_cannot_work_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no `claude` there
    async with Orchestrator(hosts=1) as orc:
        for arguments, said in (
            ({"model": "gguf:/no/such.gguf"}, "no such file"),
            ({"model": "gpt-5", "provider": "opnai"}, "unknown provider 'opnai'"),
            ({"model": "gpt-5", "provider": "openai"}, "no key for openai"),
            ({"model": "gpt-5", "provider": "openai", "api_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
            ({"model": "tinyy"}, "no provider is available"),
            ({"model": "m", "base_url": "host/v1"}, "host/v1"),
            ({"model": "agent:brain"}, "would ask itself"),
        ):
            with pytest.raises(ThreeModeError, match=said):
                await orc.model(name="brain", **arguments)
        assert not [host for host in (await orc.table()).hosts if host.label != "host-1"], "its host is gone"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"llm": ConnectionOptions(prices=Prices())}, "llm.prices cannot travel"),
        (
            {"llm": ConnectionOptions(transport=PoolOptions(ssl_context=ssl.create_default_context()))},
            "llm.transport.ssl_context cannot travel",
        ),
        (
            {"policies": Policies(routes=(Route("x", (Target("v98", "m"),), by=lambda asked, found: found),))},
            "policies.routes cannot travel",
        ),
        ({"llm": Policies()}, "llm= is ConnectionOptions(...), not Policies"),
        ({"policies": RetryOptions()}, "policies= is Policies(...), not RetryOptions"),
        ({"llm": ConnectionOptions(config={"timeout": -1})}, "timeout is a number of seconds"),
        ({"llm": ConnectionOptions(accounts={"opnai": Account()})}, "unknown provider 'opnai'"),
        ({"llm": ConnectionOptions(files={str(number): "x" * 100 for number in range(1000)})}, "at most 65536"),
    ],
)
def test_what_cannot_travel_or_work_is_said_when_the_orchestrator_is_made(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Orchestrator(**given)
    assert said in str(caught.value)


def test_all_options_come_back_as_they_went(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('default_provider = "openai"\n[providers.openai.headers]\nx = "y"')
    given = ConnectionOptions(
        accounts={"v98": Account(api_key=KEY, headers={"a": "b"}, defaults=RequestDefaults(seed=1, reasoning="low"))},
        config=tmp_path / "c.toml",
        detection_order=("openai",),
        defaults=RequestDefaults(stop=("x",)),
        local=LoadOptions(context=64, lora=(Lora(path="/models/x.gguf"),), gpu_layers=3),
        models={"tiny": LoadOptions(threads=1)},
        local_memory_bytes=1 << 30,
        files={"brain": "/models/brain.gguf"},
        transport=PoolOptions(trust_env=False, limits=Limits(header_bytes=1000)),
    )
    policies = Policies(
        breaker=None,
        cache=CacheOptions(path=tmp_path / "x.db"),
        budgets=(Budget(limit=1.5),),
        routes=(Route("both", (Target("v98", "m", 0.5), Target("local", "tiny")), by="cost"),),
        fallback=FallbackOptions(targets=(Target("openai", "m"),)),
    )
    found, same = read(written(given, policies))
    assert found.accounts == given.accounts
    assert found.config == str(tmp_path / "c.toml")
    for name in ("detection_order", "defaults", "local", "models", "local_memory_bytes", "files", "transport"):
        assert getattr(found, name) == getattr(given, name), name
    assert same is not None
    assert same.cache == CacheOptions(path=str(tmp_path / "x.db"))
    for name in ("breaker", "budgets", "routes", "fallback", "retry", "limiter"):
        assert getattr(same, name) == getattr(policies, name), name
    assert read("") == (ConnectionOptions(), None)


def test_keys_stay_out_of_what_goes_over_the_bus_and_out_of_reprs(provider: ScriptedProvider) -> None:
    assert KEY not in written_model(Policies(), LoadOptions())
    config = HostConfig("city", "host-1", [], llm_options=written(options(provider), None))
    assert KEY in config.llm_options
    assert KEY not in repr(config)


def test_a_model_has_its_own_options_before_those_of_its_host() -> None:
    from three_mode.agents.model import ModelSource

    host = written(ConnectionOptions(local=LoadOptions(context=1)), Policies(breaker=None))
    found, policies = read_model(ModelSource("tiny"), host)
    assert (found.local, policies) == (LoadOptions(context=1), Policies(breaker=None))
    own = written_model(Policies(hedge=None), LoadOptions(context=2))
    found, policies = read_model(ModelSource("tiny", options=own), host)
    assert (found.models["tiny"], policies) == (LoadOptions(context=2), Policies())
