"""A route that splits, on a real connection: users keep to their side, and replies say which it was."""

import asyncio
import json
from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from tests.support.providers.servers import HELLO, connected, several
from three_mode import LLMRequest
from three_mode.connection import ConnectionOptions
from three_mode.errors import InvalidRequest
from three_mode.observe import CallSums
from three_mode.policies import Policies, Price, Prices, RetryOptions, Route, Target
from three_mode.testing import Answer, Fault, Turn

ROUTE = Route("trial", (Target("openai", "one"), Target("openai", "two")), by="split", key="user")


async def test_users_keep_to_their_side() -> None:
    async with connected(policies=Policies(routes=(ROUTE,))) as (llm, server):
        sides = defaultdict(set)
        for turn in range(2):
            for user in range(12):
                request = LLMRequest(model="trial", messages=HELLO, metadata={"user": f"user{user}"})
                if turn:
                    reply = await llm.chat_completion(request)
                else:
                    async with llm.stream(request) as stream:
                        await stream.text()
                    reply = stream.response()
                sides[user].add(json.loads(server.seen[-1].body)["model"])
                assert reply.steps[0].kind == "routed"
                assert reply.steps[0].model in sides[user]
        assert all(len(models) == 1 for models in sides.values()), "plain and streamed"
        count = Counter(model for models in sides.values() for model in models)
        assert set(count) == {"one", "two"}
        assert llm.spent(model="one").calls == 2 * count["one"], "each side has its figures"
        assert b"user1" not in b"".join(seen.body for seen in server.seen), "metadata never goes to a provider"


@pytest.mark.parametrize(("weights", "least", "most"), [((1, 1), 40, 60), ((9, 1), 4, 16)])
async def test_a_report_has_both_sides_beside_each_other(weights: tuple[int, int], least: int, most: int) -> None:
    """100 users call twice, one of ten calls fails; the second side is another provider, dearer and slower."""
    sides = (Target("openai", "one", weights[0]), Target("anthropic", "two", weights[1]))
    policies = Policies(routes=(Route("trial", sides, by="split"),), retry=RetryOptions(attempts=1), breaker=None)
    prices = Prices(
        {"one": Price(input=Decimal(1), output=Decimal(2)), "two": Price(input=Decimal(10), output=Decimal(20))}
    )
    async with several(("openai", "anthropic"), policies=policies, options=ConnectionOptions(prices=prices)) as (
        llm,
        servers,
    ):
        servers["openai"].always(lambda seen: Answer(status=400) if b"broken" in seen.body else Turn())
        servers["anthropic"].always(
            lambda seen: Answer(status=400) if b"broken" in seen.body else Turn(output_tokens=30),
            fault=Fault(stall_before_head=0.1),
        )

        async def call(user: int, again: bool) -> tuple[int, str]:
            said = f"{'broken ' * (user % 10 == 0)}{user} {again}"
            messages = [{"role": "user", "content": said}]
            request = LLMRequest(model="trial", messages=messages, metadata={"user": f"user {user}"})
            try:
                return user, (await llm.chat_completion(request)).provider
            except InvalidRequest as error:
                return user, str(error.provider)

        calls = await asyncio.gather(*(call(user, again) for user in range(100) for again in (False, True)))
        report = llm.report("side")
    asked = defaultdict(set)
    for user, provider in calls:
        asked[user].add(provider)
    assert all(len(providers) == 1 for providers in asked.values()), "each user keeps to a side"
    one, two = (report.sides("trial")[name] for name in ("openai/one", "anthropic/two"))
    assert least <= sum(providers == {"anthropic"} for providers in asked.values()) <= most
    for sums, provider in ((one, "openai"), (two, "anthropic")):
        mine = [user for user, providers in asked.items() if providers == {provider}]
        broken = 2 * sum(user % 10 == 0 for user in mine)
        assert sums.requests == 2 * len(mine) == len(servers[provider].seen)
        assert sums.errors == ({"InvalidRequest": broken} if broken else {})
        assert sums.usage.input_tokens == 12 * (sums.requests - broken)
    assert (one.cost, two.cost) == (Decimal("0.000018") * one.answered, Decimal("0.00072") * two.answered)
    assert one.latency.p50 is not None
    assert two.latency.p50 is not None
    assert two.latency.p50 >= 0.1
    assert report.total.requests == one.requests + two.requests == 200


async def test_a_side_keeps_the_calls_that_its_fallback_answered() -> None:
    """Else the side that fails would look as good as the other one."""
    policies = Policies(retry=RetryOptions(attempts=1), routes=(ROUTE,))
    async with connected(policies=policies) as (llm, server):
        server.always(lambda seen: Answer(status=503) if seen.json["model"] == "one" else Turn())
        for user in range(4):
            request = LLMRequest(model="trial", messages=HELLO, metadata={"user": f"user{user}"})
            assert (await llm.chat_completion(request)).model == "two"
        one, two = (llm.report().sides("trial").get(f"openai/{name}", CallSums()) for name in ("one", "two"))
    assert one.requests + two.requests == 4
    assert one.requests == one.switched == one.attempt_errors["ProviderOverloaded"] > 0
    assert (two.switched, two.attempt_errors) == (0, {})
