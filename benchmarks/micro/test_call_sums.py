"""What a report costs a call: from the usage of its attempt to the sums that it is added to."""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from three_mode.calls.call_book import CallBook
from three_mode.calls.call_log import ActiveCall
from three_mode.messages import LLMRequest, LLMResponse, Step, Usage
from three_mode.observe import AttemptUse, CallFigures
from three_mode.observe.call_sums import CallTallies
from three_mode.policies import CallContext, Target

TARGET = Target("openai", "gpt-5")
USAGE = Usage(1200, 300, cost=Decimal("0.0045"))
REPLY = LLMResponse(usage=USAGE)
CONTEXT = CallContext(deadline=1.0, began=0.0, steps=[Step("attempt", 0.0, "openai", "gpt-5")])
CALLS = 1024  # a multiple of the calls that are added up at once
CONVERSATIONS: dict[str, Callable[[int], dict[str, str]]] = {
    "none": lambda number: {},
    "500": lambda number: {"conversation": f"talk {number % 500}"},
    "ever new": lambda number: {"conversation": f"talk {number}"},
}


@pytest.mark.parametrize("conversations", CONVERSATIONS)
def test_a_thousand_calls(benchmark: Any, conversations: str) -> None:
    book, numbers, metadata = CallBook(None), count(), CONVERSATIONS[conversations]

    def calls() -> tuple[tuple[list[ActiveCall]], dict[str, Any]]:
        requests = [
            LLMRequest(messages=[{"role": "user", "content": "x"}], metadata=metadata(next(numbers)))
            for _ in range(CALLS)
        ]
        made = [ActiveCall(each, "id", CONTEXT, label="team", target=TARGET, targets=(TARGET,)) for each in requests]
        return (made,), {}

    def end(made: list[ActiveCall]) -> None:
        for call in made:
            book.add_use(call, TARGET, USAGE)
            book.close(call, 0.5, REPLY)

    benchmark.pedantic(end, setup=calls, rounds=20)
    assert book.tallies.report().total.requests == next(numbers)


def test_a_thousand_records_that_are_read_back(benchmark: Any) -> None:
    figures = CallFigures(
        request_id="id",
        provider="openai",
        model="gpt-5",
        latency=0.5,
        first_content=None,
        used=(AttemptUse("openai", "gpt-5", USAGE),),
    )
    tallies = CallTallies()

    def add() -> None:
        for _ in range(CALLS):
            tallies.add(figures)

    benchmark.pedantic(add, rounds=20)
    assert tallies.report().total.requests == 20 * CALLS
