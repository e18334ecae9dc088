"""Identical streams through a connection: one call at the provider, one account, and each reader on its own."""

import asyncio
from decimal import Decimal

import pytest

from tests.support.providers.servers import QUICK, connected, hello
from three_mode import LLMConnection, errors
from three_mode.calls.stream import ReplyStream
from three_mode.connection import ConnectionOptions
from three_mode.policies import BreakerOptions, Budget, CacheOptions, CoalesceOptions, Policies, Price, Prices
from three_mode.testing import Fault, Turn

SHARING = Policies(retry=QUICK, coalesce=CoalesceOptions(streams=True))
PRICED = ConnectionOptions(prices=Prices({"m": Price(input=Decimal(10**6), output=Decimal(10**7))}))


async def first_text(stream: ReplyStream) -> str:
    async for chunk in stream:
        if chunk.text:
            return chunk.text
    return ""


def steps(stream: ReplyStream) -> list[str]:
    return [step.kind for step in stream.response().steps]


async def test_identical_streams_are_one_call_with_one_account() -> None:
    async with connected(policies=SHARING, options=PRICED) as (llm, server):
        server.always(Turn(), fault=Fault(pause=0.01))
        streams = [llm.stream(hello(metadata={"n": n})) for n in range(5)]
        assert await asyncio.gather(*(stream.text() for stream in streams)) == ["Hello world!"] * 5
        assert len(server.seen) == 1
        assert sorted(map(steps, streams)) == [["attempt"], *[["coalesced"]] * 4]
        assert len({stream.response().request_id for stream in streams}) == 5
        assert {stream.response().usage.cost for stream in streams} == {Decimal(42)}
        assert (llm.spent().calls, llm.spent().cost) == (1, Decimal(42))
        assert llm.metrics.snapshot().calls == 1
        assert await llm.stream(hello(temperature=0.5)).text() == "Hello world!"
        assert await llm.stream(hello()).text() == "Hello world!"
        assert len(server.seen) == 3, "another request, or one that came later, is a call of its own"


async def test_without_the_option_streams_are_calls_of_their_own() -> None:
    async with connected(policies=Policies(coalesce=True)) as (llm, server):
        server.always(Turn(), fault=Fault(pause=0.01))
        await asyncio.gather(*(llm.stream(hello()).text() for _ in range(3)))
        assert len(server.seen) == 3


async def test_one_that_joins_late_is_given_what_came() -> None:
    async with connected(policies=SHARING) as (llm, server):
        server.always(Turn(text=("Hel", "lo", " you")), fault=Fault(pause=0.05))
        early, late = llm.stream(hello()), llm.stream(hello())
        assert await first_text(early) == "Hel"
        assert await late.text() == "Hello you"
        assert await early.text() == "Hello you"
        assert len(server.seen) == 1


async def test_who_leaves_leaves_alone_and_the_last_one_ends_it_at_the_server() -> None:
    policies = Policies(retry=QUICK, coalesce=CoalesceOptions(streams=True), budgets=(Budget(limit=10_000),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        server.always(Turn(text=("x" * 40,) * 10), fault=Fault(stall_after=4))
        one, two = llm.stream(hello(max_tokens=10)), llm.stream(hello(max_tokens=10))
        assert await first_text(one)
        assert await first_text(two)
        await one.aclose()
        await asyncio.sleep(0.05)
        assert not server.cancelled_requests
        assert llm.spent().calls == 0
        await two.aclose()
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert llm.spent().calls == 1, "it is settled once, by what came"
        assert 0 < llm.spent().cost < 1000
        assert list(llm.budgets().values()) == [10_000 - llm.spent().cost]


async def test_all_who_wait_for_the_first_content_leave() -> None:
    async with connected(policies=SHARING) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=60))
        tasks = [asyncio.ensure_future(llm.stream(hello()).text()) for _ in range(3)]
        await server.until(lambda seen: len(seen.seen) == 1)
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert len(server.seen) == 1


async def test_one_that_breaks_off_breaks_off_for_all_and_counts_once() -> None:
    policies = Policies(retry=QUICK, coalesce=CoalesceOptions(streams=True), breaker=BreakerOptions(failures=2))
    async with connected(policies=policies) as (llm, server):
        server.always(Turn(text=("Hel", "lo", " world")), fault=Fault(cut_after=3))
        outcomes = await asyncio.gather(*(llm.stream(hello()).text() for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [errors.StreamInterrupted] * 3
        assert {each.partial.content for each in outcomes} <= {"Hel", "Hello"}  # type: ignore[union-attr]
        assert len(server.seen) == 1
        assert llm.breaker_states() == {}, "one call, one failure"


async def test_a_slow_reader_is_told_and_holds_up_nobody() -> None:
    policies = Policies(retry=QUICK, coalesce=CoalesceOptions(streams=True, buffer=2_000))
    async with connected(policies=policies) as (llm, server):
        server.always(Turn(text=("x" * 100,) * 100), fault=Fault(pause=0.001))
        slow, fast = llm.stream(hello()), llm.stream(hello())
        assert await first_text(slow)
        assert await fast.text() == "x" * 10_000
        with pytest.raises(errors.StreamInterrupted, match="2000 bytes behind") as caught:
            await slow.text()
        assert isinstance(caught.value.__cause__, errors.Overloaded)
        assert caught.value.partial is not None
        assert caught.value.partial.content.strip("x") == ""
        assert len(server.seen) == 1


async def test_a_follower_has_a_deadline_of_its_own() -> None:
    async with connected(policies=SHARING) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=0.5))
        patient = asyncio.ensure_future(llm.stream(hello()).text())
        await server.until(lambda seen: len(seen.seen) == 1)
        with pytest.raises(errors.DeadlineExceeded):
            await llm.stream(hello(within=0.1)).text()
        whole = asyncio.ensure_future(llm.chat_completion(hello()))
        assert await patient == "Hello world!"
        assert (await whole).content == "Hello world!"


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_has_more_time_than_the_one_who_began_gets_an_answer(streamed: bool) -> None:
    async with connected(policies=SHARING) as (llm, server):
        server.next(Turn(), fault=Fault(stall_before_head=60))

        async def ask(within: float) -> str:
            if streamed:
                return await llm.stream(hello(within=within)).text()
            return (await llm.chat_completion(hello(within=within))).content

        hasty = asyncio.ensure_future(ask(0.3))
        await server.until(lambda seen: len(seen.seen) == 1)
        assert await ask(30) == "Hello world!"
        with pytest.raises(errors.DeadlineExceeded):
            await hasty


async def test_a_shared_stream_fills_the_cache() -> None:
    policies = Policies(cache=CacheOptions(), coalesce=CoalesceOptions(streams=True))
    async with connected(policies=policies) as (llm, server):
        await asyncio.gather(*(llm.stream(hello()).text() for _ in range(2)))
        assert (await llm.chat_completion(hello())).content == "Hello world!"
        assert len(server.seen) == 1


async def test_a_stream_that_is_dropped_is_settled() -> None:
    policies = Policies(budgets=(Budget(limit=10_000),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        server.always(Turn(text=("x",) * 50), fault=Fault(stall_after=6))

        async def dropped(llm: LLMConnection) -> None:
            async for chunk in llm.stream(hello(max_tokens=10)):
                if chunk.text:
                    break

        await dropped(llm)
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert llm.spent().calls == 1
        assert list(llm.budgets().values()) == [10_000 - llm.spent().cost]
