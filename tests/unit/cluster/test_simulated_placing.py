"""Placed agents in the simulated network: histories of a home and its nodes, each from a seed.

Faults that are planted in the plan show that the checker finds them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.cluster.histories import Histories, find_fault, histories
from tests.support.cluster.placing import PlacedHistory
from three_mode.cluster.core.names import OwnNames
from three_mode.cluster.core.orders import OrderBook
from three_mode.cluster.core.placing import Placing
from three_mode.cluster.core.plan import PlacementPlan

HISTORIES = 1_000
CHUNK = 250
ENOUGH = 250  # histories in which a planted fault shows


@pytest.fixture(scope="module")
def many() -> Iterator[Histories]:
    with histories() as played:
        yield played


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_the_promises_hold_in_every_history(many: Histories, first: int) -> None:
    many.hold(PlacedHistory, range(first, first + CHUNK))


def test_histories_have_what_they_are_for() -> None:
    played = [PlacedHistory(seed) for seed in range(120)]
    for one in played:
        one.run()
    assert sum(one.begun_orders for one in played) > 150
    assert sum(one.moves for one in played) > 10
    assert sum(one.strandings for one in played) > 5
    assert sum(len(one.stopped) for one in played) > 10
    assert sum(len(one.ended) for one in played) > 10


PLANTED: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "an order that comes again is done again": (OrderBook, "take", lambda *_: "new", "done twice"),
    "agents of a lost node stay where they were": (PlacementPlan, "lost", lambda *_: [], "was placed, and acts at"),
    "agents that begin by order outrank nobody": (OwnNames, "reserve", lambda *_: None, "begins by order"),
    "what was stopped while its node was away is forgotten": (
        PlacementPlan,
        "bury",
        lambda *_: None,
        "was stopped, and acts",
    ),
    "the loser goes on after a partition": (OwnNames, "beaten_by", lambda *_: [], "acts at"),
    "an order is given again that nobody waits for": (Placing, "_wanted", lambda *_: True, "was stopped, and acts"),
    "a node that cannot run a group is asked for ever": (
        PlacementPlan,
        "bar",
        lambda *_: None,
        "was placed, and acts at|rest",
    ),
    "an order that failed is not given again": (PlacementPlan, "failed", lambda *_: [], "was placed, and acts at"),
}


RARE = {"an order is given again that nobody waits for": 1750}  # fault -> the seed to begin at: one in 2,000 shows it


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, name, instead, found = PLANTED[fault]
    monkeypatch.setattr(kind, name, instead)
    first = RARE.get(fault, 0)
    find_fault(PlacedHistory, range(first, first + ENOUGH), found)
