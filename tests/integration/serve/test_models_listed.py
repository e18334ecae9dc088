"""`/v1/models`: what clients can ask, under the names that they use; agents that are no models are not listed."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import pytest_asyncio

from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, handler
from three_mode.messages import Embedded, EmbedRequest
from three_mode.policies import Policies, Route, Target
from three_mode.serve import App, Connected, ServeOptions
from three_mode.testing import Answer, ScriptedProvider, Turn
from transports.bus import Bus, BusOptions

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Clerk(Agent):
    @handler
    async def chat_completion(self, request: LLMRequest) -> str:
        return "noted"


class Speaker(Agent):
    @handler
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[str]:
        yield "noted"


class Embedder(Agent):
    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((1.0,) for _ in request.texts))


class Counter(Agent):
    """No model: it answers no request."""

    @handler
    async def count(self) -> int:
        return 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=2) as orc:
        for kind, name in ((Clerk, "clerk"), (Speaker, "speaker"), (Embedder, "embedder"), (Counter, "counter")):
            await orc.spawn(kind, 2, name=name)
        await orc.spawn(Counter, 1, name="tally", roles=["staff"])
        await orc.spawn(Clerk, 1, name="scribe", roles=["staff"])
        yield orc


@asynccontextmanager
async def asking(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as http:
        yield http


async def listed(http: httpx.AsyncClient) -> list[str]:
    return [model["id"] for model in (await http.get("/v1/models")).json()["data"]]


async def status(http: httpx.AsyncClient, model: str) -> int:
    body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello!"}]}
    return (await http.post("/v1/chat/completions", json=body)).status_code


AGENTS = ["agent:clerk", "agent:embedder", "agent:scribe", "agent:speaker", "agent:staff"]


async def test_agents_that_are_models_are_listed_and_no_others(city: Orchestrator) -> None:
    async with asking(App(Connected(city.llm, city.bus))) as http:
        assert [name for name in await listed(http) if name.startswith("agent:")] == AGENTS
        assert (await http.get("/v1/models/agent:clerk")).json()["owned_by"] == "agents"
        assert (await http.get("/v1/models/agent:counter")).status_code == 404


async def test_a_program_that_only_joined_the_bus_knows_the_same(city: Orchestrator) -> None:
    bus = await Bus.join(city.name, BusOptions(create=False, label="endpoint"))
    try:
        async with LLMConnection(bus=bus) as llm, asking(App(Connected(llm, bus))) as http:
            assert [name for name in await listed(http) if name.startswith("agent:")] == AGENTS
    finally:
        await bus.leave()


async def test_agents_of_this_process() -> None:
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Clerk, name="clerk")
        await orc.spawn(Counter, name="counter")
        async with asking(App(Connected(orc.llm, orc.bus))) as http:
            found = await listed(http)
            assert "agent:clerk" in found
            assert "agent:counter" not in found


async def test_only_what_the_operator_named_is_listed_and_asked(city: Orchestrator) -> None:
    models = {"brain": "tiny", "pen": "agent:clerk", "abacus": "agent:counter", "later": "agent:not-yet"}
    options = ServeOptions(only_models=frozenset(models))
    async with asking(App(Connected(city.llm, city.bus, models), options)) as http:
        assert await listed(http) == ["brain", "later", "pen"]
        for name in ("brain", "pen"):
            assert await status(http, name) == 200
        for name in ("tiny", "clerk", "agent:clerk", "agent:counter", "m"):
            assert await status(http, name) == 404, name


async def test_a_model_of_a_provider_and_a_route_that_the_operator_named() -> None:
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Turn())
        routes = (Route(name="either", targets=(Target("custom", "small"), Target("custom", "large"))),)
        policies = Policies(routes=routes)
        async with LLMConnection(base_url=provider.url + "/v1", policies=policies) as llm:
            app = App(Connected(llm), ServeOptions(only_models=frozenset({"small", "either"})))
            async with asking(app) as http:
                assert await listed(http) == ["either", "small"]
                assert not provider.seen, "the list is the operator's: the provider is not asked for its own"
                for name in ("small", "either"):
                    assert await status(http, name) == 200
                for name in ("large", "tiny"):
                    assert await status(http, name) == 404


async def test_a_host_that_does_not_say_is_believed_as_before() -> None:
    """Its agents are listed as it last said, and within the time that a list may take."""
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Clerk, 1, name="clerk")
        await orc.spawn(Counter, 1, name="counter")
        (host,) = (await orc.table()).hosts
        connected = Connected(orc.llm, orc.bus)
        before = [model.id for model in await connected.available_models()]
        os.kill(host.pid, signal.SIGSTOP)
        try:
            assert [model.id for model in await connected.available_models()] == before
            unheard = [model.id for model in await Connected(orc.llm, orc.bus).available_models()]
            assert {"agent:clerk", "agent:counter"} <= set(unheard)
        finally:
            os.kill(host.pid, signal.SIGCONT)
        assert "agent:counter" not in before


async def test_a_provider_that_does_not_say_its_models_is_left_out() -> None:
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Answer(status=500))
        async with LLMConnection(base_url=provider.url + "/v1", max_retries=0) as llm:
            async with asking(App(Connected(llm))) as http:
                assert "tiny" in await listed(http)
