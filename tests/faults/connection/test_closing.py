"""A connection that is closed while calls wait before a retry: they end at once, and say why."""

import asyncio
from typing import Any

import pytest

from tests.support.providers.servers import connected, hello, several
from three_mode import LLMConnection, errors
from three_mode.policies import FallbackOptions, HedgeOptions, Policies, RetryOptions, Target
from three_mode.testing import Answer

PATIENT = RetryOptions(attempts=3, first=60, jitter=0)
POLICIES = {
    "plain": Policies(retry=PATIENT),
    "shared": Policies(retry=PATIENT, coalesce=True),
    "hedged": Policies(retry=PATIENT, hedge=HedgeOptions(after=0.01)),
}
CALLS: dict[str, Any] = {
    "whole": lambda llm: llm.chat_completion(hello(within=300)),
    "stream": lambda llm: llm.stream(hello(within=300)).text(),
    "embed": lambda llm: llm.embed("m", ["text"], within=300),
}


async def ends_when_closed(llm: LLMConnection, call: Any) -> None:
    task = asyncio.ensure_future(call(llm))
    await asyncio.sleep(0.3)
    assert not task.done()
    await llm.close()
    with pytest.raises(errors.ConfigurationError, match="closed"):
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("how", POLICIES)
async def test_a_call_that_waits_before_a_retry_notices_it(how: str, what: str) -> None:
    async with connected(policies=POLICIES[how]) as (llm, server):
        server.always(Answer(status=500))
        await ends_when_closed(llm, CALLS[what])
        assert len(server.seen) >= 1


async def test_so_does_one_that_waits_for_the_time_that_a_provider_named() -> None:
    named = FallbackOptions(targets=(Target("anthropic", "c"),), first_content=20)
    policies = Policies(retry=RetryOptions(attempts=3, first=0.01), fallback=named, limiter=None)
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        for server in servers.values():
            server.always(Answer(status=429, headers=((b"retry-after", b"60"),)))
        await ends_when_closed(llm, CALLS["whole"])


async def test_a_call_that_is_cancelled_while_it_waits_is_cancelled() -> None:
    async with connected(policies=POLICIES["plain"]) as (llm, server):
        server.always(Answer(status=500))
        task = asyncio.ensure_future(CALLS["whole"](llm))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
