"""What happens when a provider is dead, stalled, slow, or refuses: who answers, how soon, and what the reply says of
it.
"""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.support.providers.servers import QUICK, connected, hello, several
from three_mode import errors
from three_mode.connection import Account, ConnectionOptions
from three_mode.policies import BreakerOptions, FallbackOptions, HedgeOptions, Policies, RetryOptions
from three_mode.testing import (
    Answer,
    Fault,
    ScriptedProvider,
    Turn,
    overloaded,
    quota_exhausted,
    rate_limited,
)

FAST = Policies(retry=QUICK, fallback=FallbackOptions(first_content=0.3))
CALM = Policies(retry=QUICK, fallback=FallbackOptions(first_content=20))  # for tests in which nothing stalls
BREAK: dict[str, Callable[[ScriptedProvider], None]] = {
    "stalled before the head": lambda s: s.always(Turn(), fault=Fault(stall_before_head=60)),
    "stalled after the head": lambda s: s.always(Turn(), fault=Fault(stall_after=0)),
    "a role and no more": lambda s: s.always(Turn(), fault=Fault(stall_after=1)),
    "keep-alives and no more": lambda s: s.always(Turn(keep_alives=5000), fault=Fault(pause=0.01)),
    "slow": lambda s: s.always(Turn(), fault=Fault(pause=0.3)),
    "429": lambda s: s.always(Answer(status=429, headers=((b"retry-after", b"30"),))),
    "500": lambda s: s.always(Answer(status=500)),
    "529": lambda s: s.always(Answer(status=529)),
    "401": lambda s: s.always(Answer(status=401)),
    "404": lambda s: s.always(Answer(status=404)),
    "no quota": lambda s: s.always(Answer(status=402)),
    "cut before the head": lambda s: s.always(Turn(), fault=Fault(cut_after=-1)),
    "cut after the head": lambda s: s.always(Turn(), fault=Fault(cut_after=0)),
    "reset": lambda s: s.always(Turn(), fault=Fault(reset_after=-1)),
    "goaway": lambda s: s.always(Turn(), fault=Fault(goaway_after=-1, goaway_processed=False)),
    "rubbish": lambda s: s.always(Answer(pieces=(b"<html>hello</html>",))),
    "an error in a 200": lambda s: s.always(Turn(text=(), error="broke")),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", BREAK)
async def test_the_next_provider_answers(how: str, streamed: bool) -> None:
    async with several(("openai", "anthropic"), policies=FAST) as (llm, servers):
        BREAK[how](servers["openai"])
        began = time.monotonic()
        if streamed:
            stream = llm.stream(hello(within=20))
            async for _ in stream:
                pass
            reply = stream.response()
        else:
            reply = await llm.chat_completion(hello(within=20))
        assert time.monotonic() - began < 10
        assert reply.content == "Hello world!"
        assert (reply.provider, reply.model) == ("anthropic", servers["anthropic"].seen[0].json["model"])
        kinds = [step.kind for step in reply.steps]
        assert kinds == ["attempt", "switched", "attempt"]
        why = reply.steps[1]
        assert why.provider == "anthropic"
        assert "openai" in (why.why or "")
        assert llm.metrics.snapshot("openai").error_rate == 1.0
        assert llm.metrics.snapshot("anthropic").error_rate == 0.0
        if "stalled" in how or "no more" in how:
            await servers["openai"].until(lambda seen: bool(seen.cancelled_requests))


async def test_a_dead_provider_is_known_at_once() -> None:
    async with several(("openai", "anthropic"), policies=CALM) as (llm, servers):
        dead = servers["openai"]
        await dead.__aexit__(None, None, None)
        began = time.monotonic()
        reply = await llm.chat_completion(hello())
        assert reply.provider == "anthropic"
        assert time.monotonic() - began < 5
        await dead.__aenter__()


async def test_thinking_is_content() -> None:
    policies = Policies(retry=QUICK, fallback=FallbackOptions(first_content=1.5))
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        servers["openai"].always(Turn(thinking=("hm",)), fault=Fault(stall_after=2, stall_for=2))
        assert (await llm.chat_completion(hello())).provider == "openai"


async def test_after_content_nothing_is_spliced() -> None:
    async with several(("openai", "anthropic"), policies=CALM) as (llm, servers):
        servers["openai"].always(Turn(text=("Hel", "lo")), fault=Fault(cut_after=2))
        with pytest.raises(errors.StreamInterrupted) as caught:
            await llm.stream(hello()).text()
        assert caught.value.partial is not None
        assert caught.value.partial.content == "Hel"
        assert servers["anthropic"].seen == []
        # Nothing went out to somebody who waits for the whole reply: he gets the other provider's.
        assert (await llm.chat_completion(hello())).provider == "anthropic"


async def test_all_fail() -> None:
    async with several(("openai", "anthropic"), policies=CALM, max_retries=0) as (llm, servers):
        servers["openai"].always(Answer(status=500))
        servers["anthropic"].always(Answer(status=401))
        with pytest.raises(errors.AllProvidersFailed) as caught:
            await llm.chat_completion(hello())
        assert [type(cause) for cause in caught.value.causes] == [
            errors.ServerError,
            errors.AuthenticationError,
        ]
        assert caught.value.retryable


@pytest.mark.parametrize("status", [400, 422])
async def test_a_bad_request_is_not_tried_elsewhere(status: int) -> None:
    async with several(("openai", "anthropic"), policies=CALM) as (llm, servers):
        servers["openai"].always(Answer(status=status))
        with pytest.raises(errors.InvalidRequest):
            await llm.chat_completion(hello())
        assert servers["anthropic"].seen == []
        assert len(servers["openai"].seen) == 1


async def test_retries_until_it_works_and_the_reply_says_so() -> None:
    async with connected() as (llm, server):
        server.next(Answer(status=500), times=2)
        reply = await llm.chat_completion(hello())
        assert [step.kind for step in reply.steps] == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert "ServerError" in (reply.steps[1].why or "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 402])
async def test_what_would_fail_again_is_not_retried(status: int) -> None:
    async with connected() as (llm, server):
        server.always(Answer(status=status))
        with pytest.raises(errors.LLMError):
            await llm.chat_completion(hello())
        assert len(server.seen) == 1


async def test_no_quota_is_not_retried_though_its_status_says_429() -> None:
    async with connected() as (llm, server):
        server.always(quota_exhausted())
        with pytest.raises(errors.QuotaExhausted):
            await llm.chat_completion(hello())
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    "header",
    [(b"retry-after", b"0.3"), (b"retry-after-ms", b"300"), (b"retry-after", b"1")],
)
async def test_retry_after_is_obeyed(header: tuple[bytes, bytes]) -> None:
    async with connected() as (llm, server):
        server.next(Answer(status=429, headers=(header,)))
        began = time.monotonic()
        await llm.chat_completion(hello())
        assert time.monotonic() - began >= (1.0 if header[1] == b"1" else 0.3)


async def test_a_wait_beyond_the_deadline_is_an_error_now() -> None:
    async with connected() as (llm, server):
        server.always(Answer(status=429, headers=((b"retry-after", b"3600"),)))
        began = time.monotonic()
        with pytest.raises(errors.RateLimit) as caught:
            await llm.chat_completion(hello(within=30))
        assert time.monotonic() - began < 10
        assert caught.value.retry_after == 3600
        assert len(server.seen) == 1
        # And the next call is not even sent: the limiter knows.
        with pytest.raises(errors.RateLimit):
            await llm.chat_completion(hello(within=30))
        assert len(server.seen) == 1


async def test_the_scripted_refusals_are_what_they_say() -> None:
    async with connected(max_retries=0, policies=Policies(limiter=None)) as (llm, server):
        server.always(rate_limited())
        with pytest.raises(errors.RateLimit) as caught:
            await llm.chat_completion(hello())
        assert caught.value.retry_after is not None
    async with connected("anthropic", max_retries=0) as (llm, server):
        server.always(overloaded())
        with pytest.raises(errors.ProviderOverloaded):
            await llm.chat_completion(hello())


async def test_the_breaker_opens_and_spares_a_provider_that_fails() -> None:
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=5, cool_down=60))
    async with connected(policies=policies) as (llm, server):
        server.always(Answer(status=500))
        for _ in range(5):
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(hello())
        with pytest.raises(errors.CircuitOpen) as caught:
            await llm.chat_completion(hello())
        assert len(server.seen) == 5
        assert caught.value.retry_after == pytest.approx(60, abs=10)
        # Another model of the same provider has a breaker of its own.
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello("other"))


async def test_hedging_asks_again_and_cancels_the_loser() -> None:
    async with connected(policies=Policies(retry=QUICK, hedge=HedgeOptions(after=0.1))) as (llm, server):
        server.next(Turn(), fault=Fault(stall_before_head=60))
        reply = await llm.chat_completion(hello())
        assert [step.kind for step in reply.steps] == ["attempt", "hedged", "attempt"]
        await server.until(lambda seen: bool(seen.cancelled_requests))
        server.next(Turn(), fault=Fault(stall_before_head=60))
        assert await llm.stream(hello()).text() == "Hello world!"
        await server.until(lambda seen: len(seen.cancelled_requests) == 2)
        assert all(seen.finished or seen.cancelled for seen in server.seen)


async def test_a_fallback_without_a_key_is_skipped() -> None:
    from three_mode.policies import Target

    policies = Policies(
        retry=QUICK,
        fallback=FallbackOptions(targets=(Target("gemini", "g"), Target("anthropic", "c")), first_content=20),
    )
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        servers["openai"].always(Answer(status=500))
        assert (await llm.chat_completion(hello())).provider == "anthropic"


async def test_cancelling_while_a_retry_waits_is_prompt() -> None:
    policies = Policies(retry=RetryOptions(first=30, jitter=0))
    async with connected(policies=policies) as (llm, server):
        server.always(Answer(status=500))
        task = asyncio.ensure_future(llm.chat_completion(hello()))
        await server.until(lambda seen: len(seen.seen) == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_accounts_hide_their_key() -> None:
    assert "secret" not in repr(Account(api_key="secret"))
    assert "secret" not in repr(ConnectionOptions(accounts={"openai": Account(api_key="secret")}))
