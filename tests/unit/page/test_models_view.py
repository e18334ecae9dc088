"""What the page shows of models and money, from figures as connections give them."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from local_models import Statistics
from three_mode.calls.figures import BudgetStanding, LocalFigures, ModelCalls
from three_mode.connection import ConnectionFigures
from three_mode.least_used import OTHERS
from three_mode.page.models_view import MOST_ROWS, OTHER, UNLABELLED, Heard, ModelsMessage, ModelsReadings
from three_mode.policies.budget import SpendingRow
from three_mode.policies.limiter import LimiterStanding


def statistics(**known: Any) -> Statistics:
    given = {
        name: "" if kind is str else 0
        for name, kind in Statistics.__annotations__.items()
        if name not in Statistics.__struct_defaults__
    }
    return Statistics(**given | known)


def spent(provider: str, model: str, label: str | None, calls: int, cost: str = "0", unpriced: int = 0) -> SpendingRow:
    return SpendingRow(
        provider=provider,
        model=model,
        label=label,
        calls=calls,
        input_tokens=10 * calls,
        output_tokens=calls,
        cached_tokens=0,
        cost=Decimal(cost),
        unpriced=unpriced,
    )


def heard(where: str, **figures: Any) -> Heard:
    return Heard(where=where, figures=ConnectionFigures(**figures))


def reading(view: ModelsReadings, now: float, **known: Any) -> Any:
    model = LocalFigures(name="tiny", statistics=statistics(**known))
    (row,) = view.read([heard("h", models=(model,))], now, 0.0).models
    return row


def test_what_happens_in_a_second_is_the_difference_of_two_readings() -> None:
    view = ModelsReadings()
    first = reading(view, 10.0, completion_tokens=100, prompt_tokens=400, reused_tokens=300, steps=50)
    assert (first.tokens_per_second, first.prompt_per_second, first.batch) == (None, None, None)
    assert first.prefix_hits == 0.75
    second = reading(view, 12.0, completion_tokens=340, prompt_tokens=500, reused_tokens=380, steps=110)
    assert (second.tokens_per_second, second.prompt_per_second, second.batch) == (120.0, 10.0, 4.0)
    idle = reading(view, 13.0, completion_tokens=340, prompt_tokens=500, reused_tokens=380, steps=110)
    assert (idle.tokens_per_second, idle.batch) == (0.0, None)


def test_a_worker_that_was_started_again_counts_from_nothing() -> None:
    view = ModelsReadings()
    reading(view, 1.0, completion_tokens=900, steps=300)
    again = reading(view, 2.0, completion_tokens=8, steps=8, restarts=1)
    assert (again.tokens_per_second, again.batch, again.restarts) == (None, None, 1)


def test_two_files_of_one_name_are_two_rows_with_rates_of_their_own() -> None:
    view = ModelsReadings()

    def both(now: float, one: int, other: int) -> list[float | None]:
        models = tuple(
            LocalFigures(name="m", statistics=statistics(completion_tokens=n, steps=n)) for n in (one, other)
        )
        return [row.tokens_per_second for row in view.read([heard("h", models=models)], now, 0.0).models]

    assert both(0.0, 5, 50) == [None, None]
    assert both(1.0, 6, 70) == [1.0, 20.0]


def test_a_dollar_stands_once_however_many_agents_passed_the_call_on() -> None:
    caller = heard("host-0", spending=(spent("agent", "brain", "job", 2, "3.00"), spent("openai", "m", None, 1, "0.5")))
    model = Heard(
        where="host-1", agent="brain", figures=ConnectionFigures(spending=(spent("openai", "m", "job", 2, "3.00"),))
    )
    message = ModelsReadings().read([caller, model], 0.0, 0.0)
    assert (message.total.cost, message.total.calls) == (Decimal("3.50"), 3)
    assert {row.name: (row.calls, row.cost) for row in message.providers} == {
        "openai": (3, Decimal("3.50")),
        "agent": (2, Decimal("3.00")),
    }
    assert {row.name: row.cost for row in message.spent} == {"openai/m": Decimal("3.50")}
    assert {row.name: row.cost for row in message.labels} == {"job": Decimal("3.00"), UNLABELLED: Decimal("0.5")}


@pytest.mark.parametrize("names", [MOST_ROWS, MOST_ROWS + 1, 3 * MOST_ROWS])
def test_a_table_is_bounded_and_its_sum_is_that_of_all_rows(names: int) -> None:
    rows = tuple(spent("p", f"m{number}", f"l{number}", 1, str(number)) for number in range(names))
    more = spent(OTHERS, OTHERS, OTHERS, 7, "1000")
    message = ModelsReadings().read([heard("h", spending=(*rows, more))], 0.0, 0.0)
    for table in (message.spent, message.labels):
        assert len(table) == min(names + 1, MOST_ROWS)
        assert sum(row.cost for row in table) == message.total.cost == 1000 + sum(range(names))
        assert [row.name for row in table].count(OTHER) == 1


def test_calls_of_several_processes_are_added_and_times_are_the_slowest() -> None:
    one = ModelCalls(name="p/m", requests=5, failed=1, cancelled=0, p50=0.1, p99=0.2)
    other = ModelCalls(name="p/m", requests=7, failed=0, cancelled=2, p50=0.3, p99=None)
    (row,) = ModelsReadings().read([heard("a", calls=(one,)), heard("b", calls=(other,))], 0.0, 0.0).calls
    assert (row.requests, row.failed, row.cancelled, row.p50, row.p99) == (12, 1, 2, 0.3, 0.2)


def test_the_message_is_json_with_its_kind_and_says_who_was_silent() -> None:
    limiter = LimiterStanding(in_flight=1, at_once=64, waiting=2, held_back=3, wait=0.5)
    said = heard(
        "host-0",
        budgets=(BudgetStanding(name="the budget of label job", limit=Decimal(5), left=Decimal("1.25")),),
        breakers={"openai/m": "open", "openai/n": "half-open"},
        cooling={"openai/m": 12.5},
        limiters={"openai": limiter},
    )
    message = ModelsReadings().read([said], 0.0, 99.0, silent=["host-2", "host-1"])
    plain = msgspec.json.decode(msgspec.json.encode(message))
    assert (plain["kind"], plain["at"], plain["silent"]) == ("models", 99.0, ["host-1", "host-2"])
    assert plain["budgets"] == [{"name": "the budget of label job", "where": "host-0", "limit": "5", "left": "1.25"}]
    assert [(row["target"], row["state"], row["seconds"]) for row in plain["breakers"]] == [
        ("openai/m", "open", 12.5),
        ("openai/n", "half-open", 0.0),
    ]
    assert plain["limiters"][0]["wait"] == 0.5
    assert msgspec.json.decode(msgspec.json.encode(message), type=ModelsMessage) == message
