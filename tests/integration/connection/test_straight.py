"""A first attempt that is sent straight: its caller leaves, it fails, or it is late."""

import asyncio
from decimal import Decimal

import pytest

from tests.support.providers.servers import QUICK, connected, hello
from three_mode import LLMConnection, errors
from three_mode.connection import ConnectionOptions
from three_mode.policies import (
    BreakerOptions,
    Budget,
    HedgeOptions,
    Policies,
    Price,
    Prices,
    RetryOptions,
)
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn

SHARED = Policies(coalesce=True, retry=QUICK)
PRICED = ConnectionOptions(prices=Prices({"m": Price(input=Decimal(10**6), output=Decimal(10**7))}))


async def three(llm: LLMConnection, server: ScriptedProvider) -> list["asyncio.Task[object]"]:
    """Three callers of one call, which the server has seen."""
    tasks: list[asyncio.Task[object]] = [
        asyncio.ensure_future(llm.chat_completion(hello(max_tokens=3))) for _ in range(3)
    ]
    await server.until(lambda seen: len(seen.seen) >= 1)  # a hedge may have been quicker than this look
    return tasks


def idle(llm: LLMConnection) -> bool:
    """Nothing is held for a call that is over."""
    engine = llm._services.pipeline
    hedge = engine._attempts.hedge
    limiters = llm._services.gates._limiters.values()
    return (
        all(limiter.in_flight == 0 for limiter in limiters)
        and (hedge is None or not hedge._waiting)
        and (engine._coalescer is None or not engine._coalescer._shared)
    )


async def test_the_others_get_the_reply_when_the_one_who_began_leaves() -> None:
    policies = Policies(coalesce=True, hedge=HedgeOptions(after=60), budgets=(Budget(limit=1000),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=0.2))
        first, *others = await three(llm, server)
        first.cancel()
        replies = await asyncio.gather(*others)
        assert first.cancelled()
        assert [reply.content for reply in replies] == ["Hello world!"] * 2
        assert (len(server.seen), len(server.cancelled_requests)) == (1, 0)
        assert (llm.spent().calls, llm.spent().cost) == (1, 42)
        assert list(llm.budgets().values()) == [958]
        assert idle(llm)


async def test_its_retries_are_made_for_the_others_when_the_one_who_began_has_left() -> None:
    async with connected(policies=SHARED) as (llm, server):
        server.next(Answer(status=500), fault=Fault(stall_before_head=0.2))
        server.always(Turn())
        first, *others = await three(llm, server)
        first.cancel()
        replies = await asyncio.gather(*others)
        assert [reply.content for reply in replies] == ["Hello world!"] * 2
        assert len(server.seen) == 2
        assert idle(llm)


async def test_a_failure_is_retried_once_for_all_and_each_step_is_told_once() -> None:
    async with connected(policies=SHARED) as (llm, server):
        server.next(Answer(status=500), fault=Fault(stall_before_head=0.1))
        server.always(Turn(), fault=Fault(stall_before_head=0.1))
        replies = await asyncio.gather(*await three(llm, server))
        assert len(server.seen) == 2
        assert [step.kind for step in replies[0].steps] == ["attempt", "retry", "attempt"]
        assert [step.kind for step in replies[1].steps] == ["coalesced"]
        assert llm.metrics.snapshot().errors == {"ServerError": 1}
        server.next(Answer(status=500), fault=Fault(stall_before_head=0.1))
        server.always(Turn(), fault=Fault(stall_before_head=0.2))
        tasks = [asyncio.ensure_future(llm.chat_completion(hello())) for _ in range(2)]
        await server.until(lambda seen: len(seen.seen) == 4)
        tasks[0].cancel()  # while the second attempt is on its way
        assert (await tasks[1]).content == "Hello world!"
        assert idle(llm)


async def test_an_error_of_the_last_attempt_goes_to_all() -> None:
    async with connected(policies=SHARED, max_retries=0) as (llm, server):
        server.always(Answer(status=400), fault=Fault(stall_before_head=0.1))
        results = await asyncio.gather(*await three(llm, server), return_exceptions=True)
        assert {type(result) for result in results} == {errors.InvalidRequest}
        assert len(server.seen) == 1
        assert idle(llm)


async def test_what_is_refused_before_it_is_sent_counts_as_an_attempt_that_failed() -> None:
    async with connected(policies=Policies(budgets=(Budget(limit=1),)), options=PRICED) as (llm, server):
        with pytest.raises(errors.BudgetExceeded):
            await llm.chat_completion(hello(max_tokens=3))
        assert server.seen == []
        assert llm.metrics.snapshot().errors == {"BudgetExceeded": 1}
        assert list(llm.budgets().values()) == [1]
        assert idle(llm)


async def test_failures_open_the_breaker_and_a_success_closes_it_again() -> None:
    policies = Policies(
        retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2, cool_down=0.1), coalesce=True
    )
    async with connected(policies=policies) as (llm, server):
        server.always(Answer(status=500))
        for _ in range(2):
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(hello())
        with pytest.raises(errors.CircuitOpen):
            await llm.chat_completion(hello())
        await asyncio.sleep(0.12)
        server.always(Turn())
        await llm.chat_completion(hello())
        assert llm.breaker_states() == {}
        assert idle(llm)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_hedge_overtakes_it_and_its_account_is_closed(shared: bool) -> None:
    policies = Policies(hedge=HedgeOptions(after=0.1), coalesce=shared, budgets=(Budget(limit=1000),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        server.next(Turn(), fault=Fault(stall_before_head=60))
        server.always(Turn())
        reply = await llm.chat_completion(hello(max_tokens=3))
        assert [step.kind for step in reply.steps] == ["attempt", "hedged", "attempt"]
        await server.until(lambda seen: len(seen.cancelled_requests) == 1)
        assert (llm.spent().calls, llm.spent().cost) == (1, 42)
        assert list(llm.budgets().values()) == [958]
        assert idle(llm)


async def test_a_hedge_overtakes_a_call_whose_first_caller_has_left() -> None:
    policies = Policies(hedge=HedgeOptions(after=0.2), coalesce=True)
    async with connected(policies=policies) as (llm, server):
        server.next(Turn(), fault=Fault(stall_before_head=60))
        server.always(Turn())
        first, *others = await three(llm, server)
        first.cancel()
        assert {reply.content for reply in await asyncio.gather(*others)} == {"Hello world!"}
        await server.until(lambda seen: len(seen.cancelled_requests) == 1)
        assert len(server.seen) == 2
        assert idle(llm)


async def test_a_first_caller_leaves_while_a_hedge_runs_and_the_first_runner_wins() -> None:
    policies = Policies(hedge=HedgeOptions(after=0.05), coalesce=True)
    async with connected(policies=policies) as (llm, server):
        server.next(Turn(text=("slow",)), fault=Fault(stall_before_head=0.4))
        server.always(Turn(), fault=Fault(stall_before_head=60))
        first, *others = await three(llm, server)
        await server.until(lambda seen: len(seen.seen) == 2)
        first.cancel()
        assert {reply.content for reply in await asyncio.gather(*others)} == {"slow"}
        await server.until(lambda seen: len(seen.cancelled_requests) == 1)
        assert idle(llm)


async def test_all_leave_while_a_hedge_waits() -> None:
    policies = Policies(hedge=HedgeOptions(after=60), coalesce=True)
    async with connected(policies=policies) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=60))
        tasks = await three(llm, server)
        for task in tasks:
            task.cancel()
        await server.until(lambda seen: len(seen.cancelled_requests) == 1)
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert idle(llm)
