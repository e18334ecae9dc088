"""Sums of calls without I/O: each dimension adds up to the total, in bounded memory, and says what is not known."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.errors import InvalidRequest
from three_mode.messages import Usage
from three_mode.observe import AttemptFailure, AttemptUse, Breakdown, CallFigures, CallSums, Report
from three_mode.observe.call_sums import DIMENSIONS, CallTallies

NAMES = st.sampled_from("abcdefghijkl")


def figures(**said: Any) -> CallFigures:
    """A call that was answered, unless it is said otherwise."""
    return CallFigures(
        **{"request_id": "id", "provider": "p", "model": "m", "latency": 0.5, "first_content": None, **said}
    )


def use(provider: str = "p", model: str = "m", cost: Decimal | None = Decimal(1), **tokens: int) -> AttemptUse:
    usage = Usage(**{"input_tokens": 10, "output_tokens": 2, **tokens}, cost=cost)  # type: ignore[arg-type]
    return AttemptUse(provider, model, usage)


def report_of(*calls: CallFigures, most: int = 1000) -> Report:
    tallies = CallTallies(most)
    for call in calls:
        tallies.add(call)
    return tallies.report()


def parts(breakdown: Breakdown) -> list[CallSums]:
    return [*breakdown.rows.values(), breakdown.unnamed, breakdown.other]


calls = st.builds(
    figures,
    provider=NAMES,
    model=NAMES,
    latency=st.floats(1e-5, 1e4),
    first_content=st.none() | st.floats(1e-5, 1e3),
    label=st.none() | NAMES,
    conversation=st.none() | NAMES,
    route=st.none() | st.sampled_from(["trial", "smart"]),
    side=NAMES,
    reused=st.sampled_from([None, None, "cache_hit", "coalesced"]),
    retries=st.integers(0, 3),
    switched=st.integers(0, 2),
    hedged=st.integers(0, 1),
    used=st.lists(
        st.builds(use, NAMES, NAMES, st.none() | st.decimals(0, 9, places=6), cache_read_tokens=st.integers(0, 9))
    ).map(tuple),
    failures=st.lists(st.builds(AttemptFailure, NAMES, NAMES, st.sampled_from(["ServerError", "RateLimit"]))).map(
        tuple
    ),
) | st.builds(figures, outcome=st.just("cancelled"), label=NAMES)
failed = st.builds(figures, outcome=st.just("failed"), error_kind=NAMES, provider=NAMES)
late = st.builds(
    figures, outcome=st.just("late"), latency=st.just(0.0), used=st.builds(use, NAMES, NAMES).map(lambda x: (x,))
)


@given(st.lists(calls | failed | late, max_size=60), st.sampled_from([4, 1000]))
def test_each_breakdown_adds_up_to_the_total(found: list[CallFigures], most: int) -> None:
    report = report_of(*found, most=most)
    used = [each.usage for call in found for each in call.used]
    ended = [call for call in found if call.outcome != "late"]
    assert report.total.requests == len(ended)
    assert report.total.answered == sum(call.outcome == "answered" for call in ended)
    assert report.total.usage.input_tokens == sum(usage.input_tokens for usage in used)
    assert report.total.usage.cache_read_tokens == sum(usage.cache_read_tokens for usage in used)
    assert (report.total.cost or 0) == sum(usage.cost or 0 for usage in used)
    assert report.total.errors == Counter(call.error_kind for call in ended if call.error_kind)
    assert report.total.latency.count == sum(call.outcome == "answered" and not call.reused for call in ended)
    for name in DIMENSIONS:
        breakdown: Breakdown = getattr(report, f"by_{name}")
        assert len(breakdown.rows) <= most
        for number in ("requests", "answered", "cancelled", "retries", "switched", "hedged", "unpriced", "coalesced"):
            assert sum(getattr(sums, number) for sums in parts(breakdown)) == getattr(report.total, number), number
        assert sum(sums.cost or 0 for sums in parts(breakdown)) == (report.total.cost or 0)
        assert sum(sums.usage.total_tokens for sums in parts(breakdown)) == report.total.usage.total_tokens
        assert sum(sums.latency.count for sums in parts(breakdown)) == report.total.latency.count
        kinds = Counter[str]()
        for sums in parts(breakdown):
            kinds.update(sums.attempt_errors)
        assert kinds == report.total.attempt_errors


@given(
    st.lists(
        st.tuples(NAMES, st.none() | st.just("x"), st.none() | NAMES, st.floats(1e-5, 1e3), st.none() | st.just(0.1)),
        max_size=60,
    ),
    st.none() | st.just(Decimal("0.25")),
)
def test_a_call_that_is_added_in_less_time_is_counted_the_same(
    found: list[tuple[str, str | None, str | None, float, float | None]], cost: Decimal | None
) -> None:
    short, long = CallTallies(), CallTallies()
    for model, label, conversation, latency, first_content in found:
        usage = Usage(10, 2, 1, 3, 1, cost)
        short.add_answer(("p", model, label), conversation, usage, latency, first_content)
        long.add(
            figures(
                model=model,
                label=label,
                conversation=conversation,
                latency=latency,
                first_content=first_content,
                used=(AttemptUse("p", model, usage),),
            )
        )
    assert short.report() == long.report()


def test_what_an_attempt_used_counts_for_the_provider_that_was_asked() -> None:
    lost = figures(
        used=(use("slow", "big", Decimal(5)), use()),
        failures=(AttemptFailure("slow", "big", "ServerError"),),
        switched=1,
    )
    report = report_of(lost)
    slow, own = report.by_provider["slow"], report.by_provider["p"]
    assert (slow.requests, slow.cost, slow.attempt_errors) == (0, Decimal(5), {"ServerError": 1})
    assert (own.requests, own.cost, own.attempt_errors, own.switched) == (1, Decimal(1), {}, 1)
    assert set(report.by_model.rows) == {"p/m", "slow/big"}
    assert report.total.cost == 6


def test_a_cost_that_is_not_known_is_no_zero() -> None:
    report = report_of(
        figures(used=(use(cost=None),), label="unknown"),
        figures(used=(use(cost=None),), label="some"),
        figures(used=(use(),), label="some"),
        figures(reused="cache_hit", label="stored"),
    )
    unknown, some, stored = (report.by_label[name] for name in ("unknown", "some", "stored"))
    assert (unknown.cost, unknown.usage.cost, unknown.unpriced) == (None, None, 1)
    assert (some.cost, some.usage.cost, some.unpriced) == (Decimal(1), None, 1)
    assert (stored.cost, stored.unpriced, stored.cache_hits) == (Decimal(0), 0, 1)
    assert (report.total.cost, report.total.unpriced) == (Decimal(1), 2)


def test_percentiles_are_of_calls_that_a_model_answered() -> None:
    measured = [figures(latency=n / 100, first_content=n / 1000) for n in range(1, 101)]
    others = [
        figures(latency=9.0, reused="cache_hit"),
        figures(latency=9.0, outcome="failed", error_kind="ServerError"),
    ]
    total = report_of(*measured, *others).total
    assert (total.latency.count, total.first_content.count) == (100, 100)
    for found, true in ((total.latency.p50, 0.5), (total.latency.p90, 0.9), (total.latency.p99, 0.99)):
        assert found is not None
        assert true * 0.999 <= found <= true * 1.051
    assert report_of().total.latency.p50 is None


def test_many_names_take_bounded_memory_and_the_busy_ones_stay() -> None:
    tallies = CallTallies(most=100)
    for number in range(5_000):
        tallies.add(figures(label="busy", conversation=f"talk {number}", used=(use(),)))
    report = tallies.report()
    assert len(report.by_conversation.rows) <= 100
    assert report.by_conversation.merged >= 4_900
    assert report.by_conversation.other.requests + len(report.by_conversation.rows) == 5_000
    assert report.by_label["busy"].cost == 5_000
    assert (report.by_label.merged, report.by_label.other) == (0, CallSums())


def test_only_what_is_asked_for_is_broken_down() -> None:
    tallies = CallTallies()
    tallies.add(figures(label="x", route="trial", side="p/m"))
    report = tallies.report("label")
    assert (set(report.by_label.rows), report.by_model) == ({"x"}, Breakdown())
    assert tallies.report(["model", "side"]).sides("trial")["p/m"].requests == 1
    assert tallies.report().sides("other") == {}
    with pytest.raises(InvalidRequest, match=r"'user'.*one of provider"):
        tallies.report("user")  # type: ignore[arg-type]
