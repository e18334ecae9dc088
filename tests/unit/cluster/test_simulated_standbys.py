"""Nodes that stand by in the simulated network: histories in which who leads is killed, stopped and parted, each from a
seed. Faults that are planted show that the checker finds them.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster.histories import find_fault
from tests.support.cluster.simulation import Broken
from tests.support.cluster.standbys import StandbyHistory
from three_mode.cluster.core.leading import Leading
from three_mode.cluster.core.leads import Leads
from three_mode.cluster.core.plan import PlacementPlan
from three_mode.cluster.core.plan_log import PlanLog

HISTORIES = 200
ENOUGH = 60  # histories in which a planted fault shows


def test_the_promises_hold_in_every_history() -> None:
    played = [StandbyHistory(seed) for seed in range(HISTORIES)]
    for seed, history in enumerate(played):
        try:
            history.run()
        except Broken as broken:
            line = f"python -c 'from tests.support.cluster.standbys import StandbyHistory as H; H({seed}).run()'"
            pytest.fail(f"seed {seed}: {broken}\nto repeat it: {line}")
    for what, least in (("kills", 100), ("takings", 100), ("losses", 5), ("refused", 1), ("handed_over", 1)):
        assert sum(getattr(one, what) for one in played) > least, what
    assert sum(len(one.promised) for one in played) > 200


def _all_wait(plan: PlacementPlan, copy: Any, without: Any = ()) -> list[str]:
    """Take a plan over as if none of its agents were there."""
    for agent in copy.agents.values():
        agent.node, agent.order = "", 0
    taken = _take_over(plan, copy, without)
    for name in taken:
        plan.agents[name].node = ""
    plan.due = lambda now, nodes, owner: _due(plan, now, nodes, lambda _: None)  # type: ignore[method-assign]
    return taken


_take_over, _due = PlacementPlan.take_over, PlacementPlan.due

PLANTED: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "nobody takes over": (Leading, "_take_over", lambda *_: None, "lead at the end"),
    "who led goes on beside who took over": (Leads, "rival", lambda *_: "", "lead at the end"),
    "agents are made anew by a takeover": (PlacementPlan, "take_over", _all_wait, "made anew|acts at"),
    "nodes do not know who leads their agents": (
        Leads,
        "leader_of",
        lambda leads, node: node if leads.own.term else "",
        "is led by|no copy",
    ),
    "changes of a plan are not copied": (PlanLog, "since", lambda *_: [], "no copy|was placed"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, name, instead, found = PLANTED[fault]
    monkeypatch.setattr(kind, name, instead)
    find_fault(StandbyHistory, range(ENOUGH), found)
