"""Callers with short deadlines beside callers with long ones: the breaker opens for none of them, unless the provider
is dead."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.providers.servers import QUICK, connected, hello
from three_mode import LLMConnection, errors
from three_mode.messages import LLMRequest
from three_mode.policies import BreakerOptions, CoalesceOptions, HedgeOptions, Policies, RetryOptions
from three_mode.testing import Answer, Fault, Turn
from three_mode.testing.script import FOREVER

SLOW = Fault(stall_before_head=0.3)
WAYS = {
    "plain": Policies(retry=QUICK),
    "shared": Policies(retry=QUICK, coalesce=CoalesceOptions(streams=True)),
    "hedged": Policies(retry=QUICK, hedge=HedgeOptions(after=0.02)),
}


async def answer(llm: LLMConnection, request: LLMRequest, streamed: bool) -> str:
    return await llm.stream(request).text() if streamed else (await llm.chat_completion(request)).content


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("answered", [False, True], ids=["cold", "known"])
@pytest.mark.parametrize("how", WAYS)
async def test_deadlines_shorter_than_the_usual_time_open_no_breaker(how: str, answered: bool, streamed: bool) -> None:
    async with connected(policies=WAYS[how]) as (llm, server):
        server.always(Turn(), fault=SLOW)
        if answered:
            await answer(llm, hello(within=20), streamed)
        for number in range(8):
            with pytest.raises(errors.DeadlineExceeded):
                await answer(llm, hello(within=0.1, seed=number), streamed)
        assert llm.breaker_states() == {}
        assert await answer(llm, hello(within=20), streamed) == "Hello world!"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("answered", [False, True], ids=["cold", "known"])
async def test_a_provider_that_is_dead_opens_it(answered: bool, streamed: bool) -> None:
    policies = Policies(retry=QUICK, breaker=BreakerOptions(failures=3, patience=0.1))
    async with connected(policies=policies) as (llm, server):
        if answered:
            await answer(llm, hello(), streamed)
        server.always(Turn(), fault=Fault(stall_before_head=FOREVER))
        for _ in range(3):
            assert llm.breaker_states() == {}
            with pytest.raises(errors.DeadlineExceeded):
                await answer(llm, hello(within=0.3), streamed)
        assert llm.breaker_states() == {"openai/m": "open"}
        with pytest.raises(errors.CircuitOpen):
            await answer(llm, hello(within=20), streamed)


async def test_calls_that_are_cut_side_by_side_open_no_breaker() -> None:
    async with connected() as (llm, server):
        server.always(Turn(), fault=SLOW)
        calls = (llm.chat_completion(hello(within=0.05, seed=number)) for number in range(20))
        cut = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in cut} == {errors.DeadlineExceeded}
        assert llm.breaker_states() == {}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", WAYS)
async def test_the_retries_of_a_call_are_one_failure(how: str, streamed: bool) -> None:
    policies = replace(WAYS[how], breaker=BreakerOptions(failures=3))
    async with connected(policies=policies) as (llm, server):
        server.always(Answer(status=500))
        for number in range(2):
            with pytest.raises(errors.ThreeModeError):
                await answer(llm, hello(seed=number), streamed)
        assert len(server.seen) >= 6  # more where a hedge started
        assert llm.breaker_states() == {}
        with pytest.raises(errors.ThreeModeError):
            await answer(llm, hello(seed=3), streamed)
        assert llm.breaker_states() == {"openai/m": "open"}


async def test_a_stream_that_breaks_off_after_a_retry_is_one_failure() -> None:
    policies = Policies(retry=QUICK, breaker=BreakerOptions(failures=2))
    async with connected(policies=policies) as (llm, server):
        server.next(Answer(status=500))
        server.next(Turn(text=("Hel", "lo")), fault=Fault(cut_after=2))
        with pytest.raises(errors.StreamInterrupted):
            await llm.stream(hello()).text()
        assert llm.breaker_states() == {}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429])
async def test_a_refused_request_opens_no_breaker(status: int) -> None:
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2), limiter=None)
    async with connected(policies=policies) as (llm, server):
        server.always(Answer(status=status))
        for _ in range(5):
            with pytest.raises(errors.LLMError):
                await llm.chat_completion(hello())
        assert llm.breaker_states() == {}
