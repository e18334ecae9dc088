"""Usage adds up, and an unknown cost stays unknown."""

from decimal import Decimal

from hypothesis import given

from tests.support.messages import values
from three_mode.messages import Usage


def test_names_of_both_worlds() -> None:
    usage = Usage(3, 4)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 4, 7)


def test_known_costs_add_up_and_an_unknown_one_is_not_zero() -> None:
    assert (Usage(1, cost=Decimal("0.1")) + Usage(2, cost=Decimal("0.2"))).cost == Decimal("0.3")
    assert (Usage(1, cost=Decimal("0.1")) + Usage(2)).cost is None


@given(values.usages, values.usages)
def test_a_sum_has_all_tokens_and_nothing_is_neutral(one: Usage, other: Usage) -> None:
    assert (one + other).total_tokens == one.total_tokens + other.total_tokens
    assert one + Usage() == one == Usage() + one
