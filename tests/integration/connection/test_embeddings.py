"""`embed` down every mode: providers on real sockets, a local model, agents on the bus; one call, one shape, one tree
of errors.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from tests.support.providers.servers import QUICK, connected
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler, sync
from three_mode.connection import ConnectionOptions
from three_mode.errors import (
    BudgetExceeded,
    ContextLength,
    DeadlineExceeded,
    InvalidRequest,
    NoSuchAgent,
    NotFound,
    RateLimit,
    UnsupportedParameter,
)
from three_mode.messages import Embedded, EmbedRequest, Text
from three_mode.policies import Budget, FallbackOptions, Policies, Price, Prices, Target
from three_mode.testing import FOREVER, Answer, Fault, ScriptedProvider, Turn, rate_limited
from three_mode.testing.wire.embeddings import vector_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXTS = ["red apple", "blue sky"]


class Counter(Agent):
    """Embeds by counting letters: an agent that embeds because it has the handler."""

    @handler(concurrent=8)
    async def embed(self, request: EmbedRequest) -> Embedded:
        if request.texts[0] == "sleep":
            await asyncio.sleep(30)
        return Embedded(tuple((float(len(text)), self.remaining()) for text in request.texts), "counter")


class Mute(Agent):
    """Chats, and embeds nothing."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text("hm"),))


class Asker(Agent):
    """Asks another agent to embed, with no deadline of its own."""

    @handler
    async def time_left(self) -> float:
        return float((await self.llm.embed("agent:counter", "x"))[0][1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Counter, name="counter")
        await orc.spawn(Mute, name="mute")
        await orc.spawn(Asker, name="asker")
        await orc.model("tiny", name="brain")
        yield orc


@pytest.mark.parametrize("provider", ["openai", "gemini", "ollama", "qwen"])
async def test_providers(provider: str) -> None:
    async with connected(provider) as (llm, server):
        found = await llm.embed("m", TEXTS, dimensions=3, extra={"user": "ann"})
        assert [list(vector) for vector in found] == [vector_of(text, 3) for text in TEXTS]
        assert (found.model, found.provider) == ("m", provider)
        assert found.usage.input_tokens == (0 if provider == "gemini" else 12)
        assert llm.spent(model="m").calls == 1
        assert server.seen[0].http_version == "HTTP/2"
        assert b'"user":"ann"' in server.seen[0].body


async def test_a_refusal_is_tried_again_and_then_told() -> None:
    async with connected() as (llm, server):
        server.next(rate_limited("retry-after-ms", seconds=0.01))
        assert len(await llm.embed("m", TEXTS)) == 2
        assert len(server.seen) == 2
        server.always(Answer(status=404, pieces=(b'{"error":{"message":"no such model"}}',)))
        with pytest.raises(NotFound, match="no such model"):
            await llm.embed("m", TEXTS)


async def test_a_deadline_ends_the_call_at_the_provider() -> None:
    async with connected() as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=FOREVER))
        with pytest.raises(DeadlineExceeded):
            await llm.embed("m", TEXTS, within=0.1)
        await server.until(lambda provider: len(provider.cancelled_requests) == 1)


async def test_a_budget_holds_and_another_model_is_never_asked() -> None:
    policies = Policies(
        retry=QUICK,
        budgets=(Budget(limit=Decimal("0.0001"), provider="openai"),),
        fallback=FallbackOptions(targets=(Target("local", "tiny"),)),
    )
    prices = Prices({"openai/m": Price(input=Decimal(1), output=Decimal(0))})
    async with connected(policies=policies, options=ConnectionOptions(prices=prices)) as (llm, server):
        found = await llm.embed("m", TEXTS)
        assert found.usage.cost == Decimal(12) / 1_000_000
        with pytest.raises(BudgetExceeded):
            await llm.embed("m", "word " * 1000)
        assert len(server.seen) == 1
        server.always(rate_limited(seconds=60))
        with pytest.raises(RateLimit):
            await llm.embed("m", TEXTS, within=1)


async def test_who_has_no_embeddings_says_who_has() -> None:
    async with connected("anthropic") as (llm, server):
        with pytest.raises(UnsupportedParameter, match="anthropic has no embeddings"):
            await llm.embed("claude", TEXTS)
        assert not server.seen, "nothing was sent"
        with pytest.raises(InvalidRequest, match="texts"):
            await llm.embed("claude", [])


async def test_a_model_here_and_the_same_on_the_bus(city: Orchestrator) -> None:
    async with LLMConnection() as here:
        local = await here.embed("tiny", TEXTS)
        with pytest.raises(UnsupportedParameter, match="dimensions"):
            await here.embed("tiny", TEXTS, dimensions=2)
        with pytest.raises(ContextLength):
            await here.embed("tiny", "word " * 5000)
        with pytest.raises(DeadlineExceeded):
            await here.embed("tiny", ["word " * 20] * 200, within=0.001)
    over = await city.llm.embed("agent:brain", TEXTS)
    assert len(local[0]) > 8
    assert over.vectors == local.vectors
    assert over.usage.input_tokens == local.usage.input_tokens > 2
    assert (local.provider, over.provider, over.model) == ("local", "agent", "tiny")


async def test_a_providers_model_on_the_bus(city: Orchestrator) -> None:
    async with ScriptedProvider("http/1.1") as provider:
        await city.model("m", name="remote", base_url=provider.url + "/v1")
        found = await city.llm.embed("agent:remote", TEXTS, dimensions=2)
        assert [list(vector) for vector in found] == [vector_of(text, 2) for text in TEXTS]


async def test_an_agent_embeds_if_it_has_the_handler(city: Orchestrator) -> None:
    found = await city.llm.embed("agent:counter", TEXTS, within=5)
    assert [vector[0] for vector in found] == [9.0, 8.0]
    assert 0 < found[0][1] <= 5, "the deadline reached it"
    assert (found.model, found.provider) == ("counter", "agent")
    with pytest.raises(NoSuchAgent, match="gives no embeddings: it has no handler embed"):
        await city.llm.embed("agent:mute", TEXTS)
    with pytest.raises(NoSuchAgent, match=r"orc\.model"):
        await city.llm.embed("agent:nobody", TEXTS)
    with pytest.raises(DeadlineExceeded):
        await city.llm.embed("agent:counter", "sleep", within=0.1)


async def test_a_callers_deadline_reaches_the_far_agent(city: Orchestrator) -> None:
    left = await city.ref("asker/0").ask(Asker.time_left, within=3)
    assert 0 < left < 3


async def test_without_a_loop() -> None:
    def work() -> Embedded:
        with sync.LLMConnection() as llm:
            return llm.embed("tiny", TEXTS)

    assert len(await asyncio.to_thread(work)) == 2
