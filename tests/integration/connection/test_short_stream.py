"""A streamed call to an agent that no policy has a say in: the same chunks, books and errors as the long way gives."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage, handler
from three_mode.connection import Observing
from three_mode.errors import CircuitOpen, DeadlineExceeded, NoSuchAgent, ServerError, StreamInterrupted
from three_mode.messages import Chunk, Finish, Start, Text, TextDelta, UsageUpdate
from three_mode.modes import CommunicationMode
from three_mode.policies import BreakerOptions, LimiterOptions, Policies, RetryOptions

SOON = RetryOptions(attempts=3, first=0.001)


class Teller(Agent):
    """Streams as its message says: `fail 2` fails twice and then tells, `break` ends in the middle, `hang` waits before
    it begins.
    """

    def __init__(self) -> None:
        self.failed = self.asked = self.left = 0

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        self.asked += 1
        word, _, number = request.messages[-1].text.partition(" ")
        if word == "fail" and self.failed < int(number):
            self.failed += 1
            raise ServerError("not now", status=500)
        self.failed = 0
        if word == "hang":
            try:
                await asyncio.sleep(30)
            finally:
                self.left += 1
        yield [Start(model="told"), TextDelta("one ")]
        if word == "break":
            raise ServerError("no more", status=500)
        yield [TextDelta("two"), UsageUpdate(Usage(3, 4)), Finish("stop")]

    @handler
    def counts(self) -> tuple[int, int]:
        return self.asked, self.left


class Whole(Agent):
    """Does not stream."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text("all at once"),), usage=Usage(1, 1))


def asking(text: str = "hi", model: str = "agent:teller", **fields: Any) -> LLMRequest:
    return LLMRequest(model=model, messages=[{"role": "user", "content": text}], **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Teller, name="teller")
        await orc.spawn(Whole, name="whole")
        yield orc


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def learnt(llm: LLMConnection, model: str = "agent:teller") -> LLMResponse:
    """The first call finds the way for those that come."""
    assert not llm._fast_paths
    stream = llm.stream(asking(model=model))
    await stream.text()
    assert len(llm._fast_paths) == 1
    return stream.response()


async def test_the_chunks_and_the_books_are_those_of_the_long_way(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, observe=Observing(label="me")) as llm:
        long = await learnt(llm)
        stream = llm.stream(asking(metadata={"label": "you"}))
        chunks = [chunk async for chunk in stream]
        short = stream.response()
        assert [type(chunk) for chunk in chunks] == [Start, TextDelta, TextDelta, UsageUpdate, Finish]
        for reply in (long, short):
            assert reply.content == "one two"
            assert (reply.mode, reply.provider, reply.model) == (CommunicationMode.AI_AI, "agent", "told")
            assert [(step.kind, step.provider, step.model) for step in reply.steps] == [("attempt", "agent", "teller")]
            assert 0 < reply.latency < 5
        assert long.request_id != short.request_id
        assert len(long.request_id) == len(short.request_id)
        assert llm.metrics.snapshot().calls == 2
        assert (llm.spent(label="you").calls, llm.spent(label="me").calls) == (1, 1)
        assert llm.spent().usage == Usage(6, 8)


async def test_what_fails_before_its_content_is_tried_again_on_the_long_way(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(retry=SOON)) as llm:
        await learnt(llm)
        before, _ = await city.ref("teller/0").ask(Teller.counts)
        stream = llm.stream(asking("fail 2"))
        assert await stream.text() == "one two"
        after, _ = await city.ref("teller/0").ask(Teller.counts)
        assert after - before == 3
        kinds = [step.kind for step in stream.response().steps]
        assert kinds == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert llm.metrics.snapshot().errors == {"ServerError": 2}


async def test_what_breaks_after_content_is_interrupted_and_counts_against_the_agent(
    city: Orchestrator,
) -> None:
    once = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=1, cool_down=5))
    async with LLMConnection(bus=city.bus, policies=once) as llm:
        await learnt(llm)
        with pytest.raises(StreamInterrupted) as caught:
            await llm.stream(asking("break")).text()
        assert caught.value.partial is not None
        assert caught.value.partial.content == "one "
        with pytest.raises(CircuitOpen):
            await llm.stream(asking()).text()
        assert llm.metrics.snapshot().errors["ServerError"] == 1
        used = llm.spent().usage  # of what broke off, an estimate
        assert used.input_tokens > 3
        assert used.output_tokens > 4


async def test_the_limiter_has_one_place_and_gets_it_back(city: Orchestrator) -> None:
    narrow = Policies(retry=SOON, limiter=LimiterOptions(at_once=1))
    async with LLMConnection(bus=city.bus, policies=narrow) as llm:
        await learnt(llm)
        texts = await asyncio.gather(*(llm.stream(asking()).text() for _ in range(4)))
        assert texts == ["one two"] * 4
        assert await llm.stream(asking("fail 2")).text() == "one two"


async def test_who_leaves_or_runs_out_of_time_ends_it_at_the_agent(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(limiter=LimiterOptions(at_once=1))) as llm:
        await learnt(llm)
        _, before = await city.ref("teller/0").ask(Teller.counts)
        task = asyncio.ensure_future(llm.stream(asking("hang")).text())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(DeadlineExceeded):
            await llm.stream(asking("hang", within=0.1)).text()
        for _ in range(200):
            _, left = await city.ref("teller/0").ask(Teller.counts)
            if left == before + 2:
                break
            await asyncio.sleep(0.01)
        assert left == before + 2
        assert await llm.stream(asking()).text() == "one two"


async def test_an_agent_that_does_not_stream_answers_in_one_piece(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus) as llm:
        await learnt(llm, "agent:whole")
        assert await llm.stream(asking(model="agent:whole")).text() == "all at once"


async def test_an_agent_that_is_nowhere_is_told_of(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus, policies=Policies(retry=RetryOptions(attempts=1))) as llm:
        for _ in range(2):
            with pytest.raises(NoSuchAgent, match="no agent 'nobody' is on the bus"):
                await llm.stream(asking(model="agent:nobody")).text()
