"""A call to an agent that no policy has a say in: the same reply, books and errors as the long way gives."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage, handler
from three_mode.connection import Observing
from three_mode.errors import (
    CircuitOpen,
    ConfigurationError,
    DeadlineExceeded,
    NoSuchAgent,
    RateLimit,
    ServerError,
)
from three_mode.least_used import MOST
from three_mode.messages import Step, Text
from three_mode.modes import CommunicationMode
from three_mode.policies import BreakerOptions, CacheOptions, LimiterOptions, Policies, RetryOptions

SOON = RetryOptions(attempts=3, first=0.001)


class Moody(Agent):
    """Answers as its message says: `fail 2` fails twice and then answers."""

    def __init__(self) -> None:
        self.failed = self.asked = self.left = 0

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        self.asked += 1
        word, _, number = request.messages[-1].text.partition(" ")
        if word == "fail" and self.failed < int(number):
            self.failed += 1
            raise ServerError("not now", status=500)
        if word == "limit" and self.failed < int(number):
            self.failed += 1
            raise RateLimit("slow down", status=429, retry_after=0.01)
        if word == "refuse":
            raise RateLimit("slow down", status=429, retry_after=float(number))
        if word == "sleep":
            try:
                await asyncio.sleep(30)
            finally:
                self.left += 1
        self.failed = 0
        if word == "pass":
            steps = (Step("attempt", 0.1, "openai", "gpt-5"), Step("cache_hit", 0.1, "openai", "gpt-5"))
            return LLMResponse(parts=(Text("theirs"),), provider="openai", model="gpt-5", steps=steps)
        said = Text(f"{self.name} {request.model} {request.mode}")
        return LLMResponse(parts=(said,), usage=Usage(3, 4), request_id="theirs")

    @handler
    def counts(self) -> tuple[int, int]:
        return self.asked, self.left


def asking(text: str = "hi", **fields: Any) -> LLMRequest:
    return LLMRequest(model="agent:moody", messages=[{"role": "user", "content": text}], **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Moody, name="moody")
        yield orc


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ways(llm: LLMConnection, request: LLMRequest) -> tuple[LLMResponse, LLMResponse]:
    """The first call finds the way and the second goes it."""
    assert not llm._fast_paths
    long = await llm.chat_completion(request)
    assert len(llm._fast_paths) == 1
    return long, await llm.chat_completion(request)


async def test_the_reply_and_the_books_are_those_of_the_long_way(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, observe=Observing(label="me")) as llm:
        long, short = await ways(llm, asking(metadata={"label": "you"}))
        for reply in (long, short):
            assert reply.content == "moody/0 None None"
            assert (reply.mode, reply.provider, reply.model) == (CommunicationMode.AI_AI, "agent", "moody")
            assert reply.extra == {"provider_request_id": "theirs"}
            assert [(step.kind, step.provider, step.model) for step in reply.steps] == [("attempt", "agent", "moody")]
            assert 0 < reply.latency < 5
        assert long.request_id != short.request_id
        assert len(long.request_id) == len(short.request_id)
        await llm.chat_completion(asking())
        assert llm.metrics.snapshot().calls == 3
        assert (llm.spent(label="you").calls, llm.spent(label="me").calls) == (2, 1)
        assert llm.spent().usage == Usage(9, 12)


async def test_what_fails_on_the_short_way_is_tried_again_on_the_long_one(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(retry=SOON)) as llm:
        await ways(llm, asking())
        before, _ = await city.ref("moody/0").ask(Moody.counts)
        reply = await llm.chat_completion(asking("fail 2"))
        after, _ = await city.ref("moody/0").ask(Moody.counts)
        assert after - before == 3
        assert [step.kind for step in reply.steps] == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert llm.metrics.snapshot().errors == {"ServerError": 2}
        with pytest.raises(ServerError) as caught:
            await llm.chat_completion(asking("fail 3"))
        assert caught.value.request_id
        assert llm.metrics.snapshot().errors == {"ServerError": 5}
        await llm.chat_completion(asking())


async def test_failures_on_the_short_way_open_the_breaker(city: Orchestrator) -> None:
    once = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2, cool_down=0.05))
    async with LLMConnection(bus=city.bus, policies=once) as llm:
        await ways(llm, asking())
        for _ in range(2):
            with pytest.raises(ServerError):
                await llm.chat_completion(asking("fail 2"))
        with pytest.raises(CircuitOpen):
            await llm.chat_completion(asking())
        await asyncio.sleep(0.06)
        assert llm.breaker_states() == {"agent/moody": "half-open"}
        await llm.chat_completion(asking())
        assert llm.breaker_states() == {}


async def test_a_success_on_the_short_way_ends_a_row_of_failures(city: Orchestrator) -> None:
    once = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2))
    async with LLMConnection(bus=city.bus, policies=once) as llm:
        await ways(llm, asking())
        for _ in range(3):
            with pytest.raises(ServerError):
                await llm.chat_completion(asking("fail 1"))
            await llm.chat_completion(asking())
        assert llm.breaker_states() == {}


async def test_the_limiter_counts_it_and_after_a_429_has_its_say(city: Orchestrator) -> None:
    narrow = Policies(retry=SOON, limiter=LimiterOptions(at_once=1))
    async with LLMConnection(bus=city.bus, policies=narrow) as llm:
        await ways(llm, asking())
        replies = await asyncio.gather(*(llm.chat_completion(asking()) for _ in range(3)))
        assert sum(any(step.kind == "wait" for step in reply.steps) for reply in replies) == 2
        reply = await llm.chat_completion(asking("limit 1"))
        assert [step.kind for step in reply.steps][:2] == ["attempt", "retry"]
        assert (await llm.chat_completion(asking())).content


async def test_who_leaves_or_runs_out_of_time_ends_it_at_the_agent(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(limiter=LimiterOptions(at_once=1))) as llm:
        await ways(llm, asking())
        _, before = await city.ref("moody/0").ask(Moody.counts)
        task = asyncio.ensure_future(llm.chat_completion(asking("sleep")))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(DeadlineExceeded):
            await llm.chat_completion(asking("sleep", within=0.05))
        await asyncio.sleep(0.05)
        _, after = await city.ref("moody/0").ask(Moody.counts)
        assert after - before == 2
        assert (await llm.chat_completion(asking())).content  # both gave their places back


async def test_an_agent_that_is_gone_is_explained(city: Orchestrator) -> None:
    short_lived = await city.spawn(Moody, name="shortlived")
    async with LLMConnection(bus=city.bus, policies=Policies(retry=RetryOptions(attempts=1))) as llm:
        request = LLMRequest(model="agent:shortlived", messages=[{"role": "user", "content": "x"}])
        await ways(llm, request)
        await city.stop(short_lived)
        await asyncio.sleep(0.1)
        with pytest.raises(NoSuchAgent, match="no agent 'shortlived' is on the bus"):
            await llm.chat_completion(request)


async def test_whatever_has_a_say_keeps_calls_on_the_long_way(city: Orchestrator, caplog: Any) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(cache=CacheOptions())) as llm:
        for kinds in (["attempt"], ["cache_hit"]):
            assert [step.kind for step in (await llm.chat_completion(asking())).steps] == kinds
        assert not llm._fast_paths
    async with LLMConnection(bus=city.bus) as llm:
        await ways(llm, asking())
        with caplog.at_level(logging.INFO, logger="three_mode.llm"):
            await llm.chat_completion(asking())
        assert [record.message for record in caplog.records] == ["llm_reply"]


async def test_a_closed_connection_has_no_short_ways(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus) as llm:
        await ways(llm, asking())
    with pytest.raises(ConfigurationError, match="closed"):
        await llm.chat_completion(asking())
    with pytest.raises(ConfigurationError, match="closed"):
        await llm.stream(asking()).text()


async def test_a_way_goes_with_the_metrics_of_its_agent(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus) as llm:
        await ways(llm, asking())
        for number in range(2 * MOST):
            llm.metrics.record("agent", f"a{number}", 0.1)
        assert not llm._fast_paths
        assert llm.metrics.snapshot(model="moody").calls == 0
        await ways(llm, asking())
        assert llm.metrics.snapshot(model="moody").calls == 2
        assert llm.metrics.snapshot().calls == 4 + 2 * MOST


async def test_a_reply_that_an_agent_passed_on_is_the_agents_in_the_cache_too(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(cache=CacheOptions())) as llm:
        for kind in ("attempt", "cache_hit"):
            reply = await llm.chat_completion(asking("pass"))
            assert (reply.content, reply.provider, reply.mode) == ("theirs", "agent", CommunicationMode.AI_AI)
            assert [(step.kind, step.provider, step.model) for step in reply.steps] == [(kind, "agent", "moody")]


async def test_a_429_of_one_agent_holds_back_no_other(city: Orchestrator) -> None:
    await city.spawn(Moody, name="calm")
    once = Policies(retry=RetryOptions(attempts=1), limiter=LimiterOptions(pause=60))
    async with LLMConnection(bus=city.bus, policies=once) as llm:
        calm = LLMRequest(model="agent:calm", messages=[{"role": "user", "content": "hi"}], within=5)
        await llm.chat_completion(calm)
        with pytest.raises(RateLimit) as caught:
            await llm.chat_completion(asking("refuse 60", within=5))
        assert caught.value.status == 429
        assert (await llm.chat_completion(calm)).content.startswith("calm/0")
        with pytest.raises(RateLimit, match="after its deadline"):
            await llm.chat_completion(asking(within=5))
