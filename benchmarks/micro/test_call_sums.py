"""What a report costs a call: its figures, and the sums that they are added to."""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from three_mode.messages import Usage
from three_mode.observe import AttemptUse, CallFigures
from three_mode.observe.call_sums import CallTallies

USED = (AttemptUse("openai", "gpt-5", Usage(1200, 300, cost=Decimal("0.0045"))),)
CALLS = 1024  # a multiple of the calls that are added up at once


@pytest.mark.parametrize("conversation", [lambda n: None, lambda n: f"talk {n % 500}", lambda n: f"talk {n}"])
def test_a_thousand_calls_with_none_500_and_ever_new_conversations(
    benchmark: Any, conversation: Callable[[int], str | None]
) -> None:
    tallies, numbers = CallTallies(), count()

    def add() -> None:
        for _ in range(CALLS):
            figures = CallFigures(
                request_id="call_1",
                provider="openai",
                model="gpt-5",
                latency=0.5,
                first_content=None,
                label="team",
                conversation=conversation(next(numbers)),
                used=USED,
            )
            tallies.add(figures)

    benchmark(add)
    assert tallies.report().total.requests == next(numbers)


def test_a_thousand_answers_of_agents(benchmark: Any) -> None:
    tallies, usage, asked = CallTallies(), Usage(7, 2), ("agent", "clerk", None)

    def add() -> None:
        for _ in range(CALLS):
            tallies.add_answer(asked, None, usage, 0.0001)

    benchmark(add)
    assert tallies.report().by_model["agent/clerk"].requests % CALLS == 0
