"""Cache, coalescing, prices, budgets and routes."""

import asyncio
import math
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.providers.clock import FakeClock, settle
from three_mode import errors
from three_mode.messages import Image, LLMRequest, LLMResponse, Text, Usage
from three_mode.policies import (
    Budget,
    CacheOptions,
    Coalescer,
    FileCache,
    MemoryCache,
    Price,
    Prices,
    Route,
    Router,
    SpendingLedger,
    Target,
    cache_key,
)
from three_mode.policies.budget import _FRESH
from three_mode.policies.cache import keepable

ASK = [{"role": "user", "content": "Hello!"}]
REPLY = LLMResponse(parts=(Text("Hi"),), model="m", provider="p", usage=Usage(3, 4, cost=Decimal("0.1")))


def key(**request: Any) -> bytes:
    return cache_key(LLMRequest(messages=ASK, **request), "p https://x", "m")


def test_every_field_that_changes_the_answer_changes_the_key() -> None:
    tool = {"name": "t"}
    changes: list[dict[str, Any]] = [
        {},
        {"temperature": 0.1},
        {"temperature": 0.2},
        {"top_p": 0.5},
        {"max_tokens": 5},
        {"stop": ["a"]},
        {"seed": 1},
        {"tools": [tool]},
        {"tools": [tool], "tool_choice": "t"},
        {"response_format": "json"},
        {"reasoning": "low"},
        {"extra": {"top_k": 4}},
    ]
    assert len({key(**change) for change in changes}) == len(changes)
    request = LLMRequest(messages=ASK)
    others = [
        cache_key(request, "q https://x", "m"),
        cache_key(request, "p https://x", "n"),
        cache_key(request, "p https://x", "m", "t"),
    ]
    assert len({key(), *others}) == 4


def test_what_does_not_change_the_answer_does_not() -> None:
    assert key(within=5, metadata={"label": "x"}, cache={"ttl": 5}) == key()


def test_a_long_request_is_a_digest_and_one_more_letter_is_another_key() -> None:
    long = [cache_key(LLMRequest(messages=[{"role": "user", "content": "a" * n}]), "p", "m") for n in (9_000, 9_001)]
    assert [len(each) for each in long] == [16, 16]
    assert len({*long, key()}) == 3


def test_every_field_of_a_request_is_thought_of() -> None:
    seen = {
        "messages",
        "prompt",
        "tools",
        "tool_choice",
        "response_format",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "reasoning",
        "extra",
    }
    given_apart = {"model", "provider"}
    without_meaning = {"mode", "within", "metadata", "cache"}
    assert set(LLMRequest.__struct_fields__) == seen | given_apart | without_meaning


def test_what_is_never_kept() -> None:
    import msgspec

    assert keepable(REPLY)
    for reason in ("length", "content_filter", "pause", "cancelled", "unknown"):
        assert not keepable(msgspec.structs.replace(REPLY, finish_reason=reason))
    assert not keepable(LLMResponse())


async def test_memory_cache() -> None:
    clock = FakeClock()
    cache = MemoryCache(CacheOptions(ttl=10, entries=2), clock)
    await cache.put(b"1", REPLY)
    await cache.put(b"2", REPLY, ttl=1)
    assert await cache.get(b"1") == REPLY
    clock.time += 2
    assert await cache.get(b"2") is None
    await cache.put(b"2", REPLY)
    await cache.get(b"1")
    await cache.put(b"3", REPLY)
    assert await cache.get(b"2") is None, "the least recently used one goes"
    assert await cache.get(b"1") == REPLY
    assert len(cache) == 2
    small = MemoryCache(CacheOptions(max_bytes=1000), clock)
    for number in range(20):
        await small.put(bytes([number]), REPLY)
    assert small.size <= 1000
    assert small.evicted > 10


async def test_a_reply_kept_as_it_came_is_read_anew_each_time() -> None:
    cache = MemoryCache(CacheOptions(max_bytes=1000))
    cache.keep_written(b"k", b"Hi", lambda written: LLMResponse(parts=(Text(written.decode()),), extra={}))
    first, second = await cache.get(b"k"), await cache.get(b"k")
    assert first is not None
    assert second is not None
    assert (first.content, second.content) == ("Hi", "Hi")
    assert first.extra is not second.extra
    cache.keep_written(b"k", b"Hi" * 500, lambda written: REPLY)
    assert await cache.get(b"k") is None, "what replaces it is too large, and it is gone nevertheless"
    assert cache.size == 0


async def test_file_cache_survives_a_restart_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    first = FileCache(CacheOptions(path=path))
    await first.put(b"1", REPLY)
    await first.put(b"the question", REPLY)
    await first.close()
    assert b"the question" not in path.read_bytes()
    assert os.stat(path).st_mode & 0o777 == 0o600
    again = FileCache(CacheOptions(path=path))
    assert await again.get(b"1") == REPLY
    assert await again.get(b"2") is None
    assert (again.hits, again.misses) == (1, 1)
    await again.close()


async def test_file_cache_bounds_time_and_damage(tmp_path: Path) -> None:
    import sqlite3

    now = [0.0]
    cache = FileCache(CacheOptions(path=tmp_path / "c", entries=3, ttl=10), wall=lambda: now[0])
    for number in range(5):
        now[0] += 0.1
        await cache.put(bytes([number]), REPLY)
    assert [await cache.get(bytes([n])) is not None for n in range(5)] == [False, False, True, True, True]
    now[0] += 100
    assert await cache.get(b"\x04") is None
    await cache.put(b"x", REPLY)
    with sqlite3.connect(tmp_path / "c") as file:
        file.execute("UPDATE reply SET value = ?", (b"rubbish",))
    file.close()
    assert await cache.get(b"x") is None
    await cache.close()
    (tmp_path / "d").write_bytes(b"this is no database" * 100)
    broken = FileCache(CacheOptions(path=tmp_path / "d"))
    with pytest.raises(errors.ConfigurationError, match="cannot be used"):
        await broken.get(b"x")
    await broken.close()


async def test_a_file_that_fails_ends_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache"
    cache = FileCache(CacheOptions(path=path))

    def lose() -> None:
        file = sqlite3.connect(path)
        file.execute("DROP TABLE reply")
        file.close()

    await cache.put(b"a", REPLY)
    lose()
    assert await cache.get(b"a") is None
    await cache.put(b"a", REPLY)
    assert await cache.get(b"a") == REPLY, "it was opened anew"
    lose()
    await cache.put(b"b", REPLY)
    path.unlink()
    path.mkdir()
    await cache.put(b"c", REPLY)
    assert (cache.failed, [record.message for record in caplog.records]) == (3, ["cache_failed"] * 3)
    await cache.close()


async def test_identical_calls_are_one_and_a_cancelled_waiter_leaves_alone() -> None:
    coalescer: Coalescer[int] = Coalescer()
    gate, made = asyncio.Event(), []

    async def make() -> int:
        made.append(1)
        await gate.wait()
        return 7

    tasks = [asyncio.ensure_future(coalescer.run("k", make)) for _ in range(4)]
    await settle()
    tasks[0].cancel()  # the one that began it
    await settle()
    gate.set()
    assert [await task for task in tasks[1:]] == [(7, True)] * 3
    assert made == [1]
    assert tasks[0].cancelled()


@pytest.mark.parametrize("late", [False, True])
async def test_the_last_waiter_to_leave_cancels_the_call(late: bool) -> None:
    coalescer: Coalescer[int] = Coalescer()
    ended: list[str] = []

    async def make() -> int:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return 1

    deadline = asyncio.get_running_loop().time() + 0.05 if late else math.inf
    tasks = [
        asyncio.ensure_future(coalescer.run("k", make)),
        asyncio.ensure_future(coalescer.run("k", make, deadline)),
    ]
    await settle()
    tasks[0].cancel()
    await settle()
    assert ended == []
    if not late:
        tasks[1].cancel()
    with pytest.raises(errors.DeadlineExceeded if late else asyncio.CancelledError):
        await tasks[1]
    assert ended == ["cancelled"]
    assert await coalescer.run("k", _seven) == (7, False)


async def _seven() -> int:
    return 7


async def test_a_failure_is_everybodys_and_is_forgotten() -> None:
    coalescer: Coalescer[int] = Coalescer()

    async def fails() -> int:
        await asyncio.sleep(0)
        raise errors.ServerError("x")

    outcomes = await asyncio.gather(*(coalescer.run("k", fails) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.ServerError] * 3
    assert await coalescer.run("k", _seven) == (7, False)


# Prices


def test_own_prices_come_first_and_an_unknown_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["acme/one"]\ninput = 2\noutput = 10\ncache_read = 0.2\n[two]\ninput = 1.5\noutput = 3\n')
    prices = Prices(file=file)
    usage = Usage(1_000_000, 100_000, 400_000, 100_000)
    # 500k plain at 2, 400k read at 0.2, 100k written at the input's price, 100k out at 10
    assert prices.cost("acme", "one", usage) == Decimal("1") + Decimal("0.08") + Decimal("0.2") + Decimal("1")
    assert prices.cost("anybody", "two", Usage(1_000_000, 0)) == Decimal("1.5")
    assert prices.cost("acme", "three", usage) is None
    assert prices.cost("v98", "claude-sonnet-4-5", usage) is None, "a reseller's price is not the maker's"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[m]\ninput = 1\n",
        "[m]\ninput = -1\noutput = 1\n",
        '[m]\ninput="a"\noutput=1\n',
        "[m]\ninput=1\noutput=1\nin=2\n",
        "[m]\ninput=nan\noutput=1\n",
    ],
)
def test_a_price_file_that_is_not_right_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(errors.ConfigurationError):
        Prices(file=tmp_path / "p.toml")


@pytest.mark.parametrize(
    "usage", [Usage(1000, 500), Usage(1000, 500, 300, 200), Usage(29_000, 1, 1), Usage(250_000, 10_000, 1000)]
)
@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-pro")],
)
def test_our_sum_is_the_librarys(provider: str, model: str, usage: Usage) -> None:
    library = pytest.importorskip("genai_prices")
    theirs = library.calc_price(
        library.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens or None,
            cache_write_tokens=usage.cache_write_tokens or None,
        ),
        model,
        provider_id={"gemini": "google"}.get(provider, provider),
    ).total_price
    assert Prices().cost(provider, model, usage) == theirs


# Budgets


def test_the_ledger_adds_up_by_provider_model_and_label() -> None:
    ledger = SpendingLedger()
    for provider, label, cost in (("a", "x", "0.1"), ("a", "y", "0.2"), ("b", "x", None)):
        usage = Usage(10, 5, cost=Decimal(cost) if cost else None)
        ledger.settle(provider, "m", label, Decimal(0), usage)
    assert ledger.spent().usage == Usage(30, 15)
    assert (ledger.spent().cost, ledger.spent().unpriced) == (Decimal("0.3"), 1)
    assert ledger.spent(provider="a").cost == Decimal("0.3")
    assert ledger.spent(label="x").calls == 2
    assert ledger.spent(provider="a", label="y").cost == Decimal("0.2")
    assert ledger.spent(label="nobody").calls == 0


def test_a_budget_refuses_the_call_that_would_exceed_it_also_side_by_side() -> None:
    ledger = SpendingLedger((Budget(limit="1.00", label="x"), Budget(limit=10)))  # type: ignore[arg-type]
    first = ledger.reserve("p", "m", "x", Decimal("0.6"))
    with pytest.raises(errors.BudgetExceeded, match="label x"):
        ledger.reserve("p", "m", "x", Decimal("0.6"))
    ledger.reserve("p", "m", "other", Decimal("5"))
    ledger.settle("p", "m", "x", first, Usage(1, 1, cost=Decimal("0.1")))
    ledger.reserve("p", "m", "x", Decimal("0.9"))
    with pytest.raises(errors.BudgetExceeded):
        ledger.reserve("p", "m", "x", Decimal("0.01"))


def test_a_budget_knows_at_once_of_a_call_that_cost_more_than_was_reserved() -> None:
    ledger = SpendingLedger((Budget(limit=1),))
    ledger.settle("p", "m", None, ledger.reserve("p", "m", None, Decimal("0.1")), Usage(1, 1, cost=Decimal("0.8")))
    with pytest.raises(errors.BudgetExceeded, match=r"0\.200000 left"):
        ledger.reserve("p", "m", None, Decimal("0.3"))


def test_what_one_budget_refuses_is_not_taken_from_another() -> None:
    ledger = SpendingLedger((Budget(limit=10), Budget(limit=1, label="x")))
    for _ in range(3):
        with pytest.raises(errors.BudgetExceeded, match="label x"):
            ledger.reserve("p", "m", "x", Decimal(4))
    assert list(ledger.left().values()) == [10, 1]


@example(calls=[("x", 0, 21, True), ("x", 30, None, False)])  # it cost something, and nothing was reserved
@given(
    st.lists(
        st.tuples(
            st.sampled_from("xyz"),
            st.integers(0, 30),
            st.one_of(st.none(), st.integers(0, 40)),
            st.booleans(),
        )
    )
)
def test_budgets_hold_whatever_the_order(calls: list[tuple[str, int, int | None, bool]]) -> None:
    """Beside a ledger that adds each call up as it comes.

    A cost of None is one that nobody knows; False: nothing was used.
    """
    ledger, limits = (
        SpendingLedger((Budget(limit=100), Budget(limit=50, label="x"))),
        {"": Decimal(100), "x": Decimal(50)},
    )
    for label, most, cost, used in calls:
        mine = ["", "x"] if label == "x" else [""]
        if any(most > limits[each] for each in mine):
            with pytest.raises(errors.BudgetExceeded):
                ledger.reserve("p", "m", label, Decimal(most))
            continue
        reserved = ledger.reserve("p", "m", label, Decimal(most))
        ledger.settle(
            "p",
            "m",
            label,
            reserved,
            Usage(1, 1, cost=None if cost is None else Decimal(cost)) if used else None,
        )
        for each in mine:
            limits[each] -= most if used and cost is None else (cost or 0) if used else 0
    assert list(ledger.left().values()) == list(limits.values())


def test_a_failed_call_gives_back_what_it_reserved_and_an_unknown_cost_keeps_it() -> None:
    ledger = SpendingLedger((Budget(limit=1),))
    ledger.settle("p", "m", None, ledger.reserve("p", "m", None, Decimal("0.7")), None)
    assert list(ledger.left().values()) == [Decimal(1)]
    ledger.settle("p", "m", None, ledger.reserve("p", "m", None, Decimal("0.7")), Usage(1, 1))
    assert list(ledger.left().values()) == [Decimal("0.3")]


def test_a_budget_cannot_be_kept_where_the_price_is_unknown() -> None:
    with pytest.raises(errors.BudgetExceeded, match="nobody knows"):
        SpendingLedger((Budget(limit=1),)).reserve("p", "m", None, None)


def used(cost: str = "0.5") -> Usage:
    return Usage(10, 5, cost=Decimal(cost))


def test_a_ledger_of_many_agents_is_bounded_and_its_sums_stay_exact() -> None:
    ledger = SpendingLedger(most=1000)
    for number in range(5000):
        ledger.add(("openai", "gpt-5", "team a"), used())
        ledger.add(("agent", f"a{number}", f"team {'ab'[number % 2]}"), used())
    assert len(ledger._tallies.known) <= 10000 + _FRESH
    assert (ledger.spent().calls, ledger.spent().cost, ledger.spent().usage) == (
        10_000,
        Decimal(5000),
        Usage(100_000, 50_000, cost=Decimal(5000)),
    )
    assert ledger.spent(provider="agent").calls == 5000
    assert (ledger.spent(label="team a").calls, ledger.spent(label="team b").calls) == (7500, 2500)
    assert ledger.spent(model="gpt-5").calls == 5000, "what is in use stays"
    assert ledger.spent(model="a4999").calls == 1
    assert ledger.spent(model="a0").calls == 0, "it counts for its label and its provider by now"


def test_a_ledger_of_many_labels_is_bounded_and_its_sums_stay_exact() -> None:
    ledger = SpendingLedger(most=1000)
    for number in range(5000):
        ledger.add(("openai", f"m{number % 2}", f"person {number}"), used())
    assert len(ledger._tallies.known) <= 10000 + _FRESH
    assert (ledger.spent(model="m0").calls, ledger.spent(model="m1").cost) == (2500, Decimal(1250))
    assert (ledger.spent(label="person 4999").calls, ledger.spent(label="person 0").calls) == (1, 0)


def test_a_ledger_of_many_of_everything_is_bounded_and_its_sum_stays_exact() -> None:
    ledger = SpendingLedger(most=1000)
    for number in range(5000):
        ledger.add((f"http://{number}", f"m{number}", f"person {number}"), used())
    assert ledger.spent().calls == 5000
    assert len(ledger._tallies.known) <= 1000


def test_those_that_were_not_used_for_the_longest_time_go_first() -> None:
    ledger = SpendingLedger(most=100)
    for _ in range(50):
        ledger.add(("agent", "busy once", None), used())
    for number in range(400):
        ledger.add(("agent", "steady", None), used())
        ledger.add(("agent", f"a{number}", None), used())
        ledger.spent()
    told_apart = {model for _, model, _ in ledger._tallies.known}
    assert "steady" in told_apart
    assert "busy once" not in told_apart
    assert {f"a{number}" for number in range(380, 400)} <= told_apart
    assert not {f"a{number}" for number in range(250)} & told_apart


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["x", "y", None]), st.integers(0, 20), st.booleans())))
def test_budgets_hold_where_tallies_go(calls: list[tuple[int, str | None, int, bool]]) -> None:
    """Beside a ledger that never lets one go. What was reserved is still there when many others came meanwhile."""
    few, all_ = (
        SpendingLedger((Budget(limit=100), Budget(limit=50, label="x"), Budget(limit=9, model="m1")), most=most)
        for most in (4, 10_000)
    )
    taken: list[tuple[SpendingLedger, str, str | None, Decimal, Usage | None]] = []
    for model, label, cost, at_once in calls:
        found = []
        for ledger in (few, all_):
            try:
                reserved = ledger.reserve("p", f"m{model}", label, Decimal(cost))
            except errors.BudgetExceeded as error:
                found.append(str(error))
            else:
                found.append("")
                usage = used(str(cost)) if cost % 3 else None
                taken.append((ledger, f"m{model}", label, reserved, usage))
        assert found[0] == found[1]
        while taken and at_once:
            ledger, name, its, reserved, usage = taken.pop()
            ledger.settle("p", name, its, reserved, usage)
    assert few.left() == all_.left()
    assert few.spent() == all_.spent()
    assert few.spent(provider="p") == all_.spent(provider="p")
    assert len(few._tallies.known) <= 5


# Routes

OWN = Prices(
    {
        "a/cheap": Price(input=Decimal(1), output=Decimal(1)),
        "a/dear": Price(input=Decimal(9), output=Decimal(9)),
    }
)
CHEAP, DEAR, FREE = Target("a", "cheap"), Target("a", "dear"), Target("a", "unpriced")


def order(route: Route, request: LLMRequest | None = None, chance: float = 0.5, **latency: float) -> list[Target]:
    router = Router([route], OWN, lambda provider, model: latency.get(model), lambda: chance)
    return router.order(route.name, request or LLMRequest(messages=ASK))


def test_by_cost_latency_weight_order_or_a_function() -> None:
    targets = (DEAR, FREE, CHEAP)
    assert order(Route("r", targets)) == [DEAR, FREE, CHEAP]
    assert order(Route("r", targets, "cost")) == [CHEAP, DEAR, FREE], "an unknown price is last"
    assert order(Route("r", targets, "latency"), dear=0.1, cheap=0.5, unpriced=0.3) == [DEAR, FREE, CHEAP]
    assert order(Route("r", targets, "latency"), dear=0.1)[0] is FREE, "one that was never tried goes first"
    assert order(Route("r", targets, lambda request, able: able[::-1])) == [CHEAP, FREE, DEAR]
    heavy = Target("a", "heavy", weight=9)
    light = Target("a", "light", weight=1)
    assert order(Route("r", (light, heavy), "weight"), chance=0.5)[0] is heavy
    assert order(Route("r", (light, heavy), "weight"), chance=0.05)[0] is light


def test_by_capability() -> None:
    image = LLMRequest(messages=[{"role": "user", "content": [Image(url="https://x.test/a.png")]}])
    blind, seeing = Target("openai", "gpt-3.5-turbo"), Target("openai", "gpt-4o")
    assert order(Route("r", (blind, seeing)), image) == [seeing]
    with pytest.raises(errors.UnsupportedParameter, match="vision"):
        order(Route("r", (blind,)), image)


def test_a_rule_must_choose_among_its_targets() -> None:
    with pytest.raises(errors.ConfigurationError):
        order(Route("r", (CHEAP,), lambda request, able: [Target("x", "y")]))
    with pytest.raises(errors.ConfigurationError):
        Route("r", ())
    with pytest.raises(errors.ConfigurationError):
        Route("r", (CHEAP,), "luck")  # type: ignore[arg-type]
