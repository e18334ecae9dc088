"""Rows of spending: the most expensive ones, and all others in one."""

from decimal import Decimal

from three_mode.least_used import OTHERS
from three_mode.messages import Usage
from three_mode.policies import SpendingLedger


def test_rows_are_bounded_and_add_up_to_all_that_was_spent() -> None:
    ledger = SpendingLedger()
    for number in range(50):
        cost = None if number == 0 else Decimal(number)
        ledger.add(("p", "m", f"label {number}"), Usage(input_tokens=10, output_tokens=1, cost=cost))
    rows = ledger.rows(10)
    assert [row.label for row in rows] == [f"label {number}" for number in range(49, 39, -1)] + [OTHERS]
    assert sum(row.cost for row in rows) == ledger.spent().cost == sum(range(50))
    assert (sum(row.calls for row in rows), rows[-1].unpriced, rows[-1].input_tokens) == (50, 1, 400)
    assert [row.calls for row in ledger.rows()] == [1] * 50
