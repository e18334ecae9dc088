"""The plan of a home, step by step: where agents go, and where they go when a node is lost."""

import pytest

from three_mode.cluster.core.echo import Echo
from three_mode.cluster.core.frames import Offer
from three_mode.cluster.core.orders import CopyOrder, PlaceOrder, RestartRule
from three_mode.cluster.core.plan import PlacementPlan
from three_mode.cluster.core.plan_log import PlanCopy, encode_change
from three_mode.cluster.core.planned import Move, PlacingNode
from three_mode.cluster.core.timing import NodeTiming
from three_mode.errors import ConfigurationError

HOME = PlacingNode("a-1", "a", Offer((), 1), 0)
B = PlacingNode("b-1", "b", Offer(("gpu",), 3, ("city",)), 0)
C = PlacingNode("c-1", "c", Offer((), 1, ("city.scouts",)), 0)
STRANGER = PlacingNode("d-1", "d", Offer(("gpu",), 8, ("cityhall",)), 0)
NODES = [HOME, B, C, STRANGER]


def order(strategy: str = "transient", module: str = "city.scouts") -> PlaceOrder:
    return PlaceOrder(0, "scout", (), module, "Scout", b"", policy=RestartRule(strategy))  # type: ignore[arg-type]


def nobody(name: str) -> None:
    return None


def placed(strategy: str = "transient", on: tuple[str, ...] = ()) -> PlacementPlan:
    """A plan with scout/0 and scout/1 at b."""
    plan = PlacementPlan("a-1")
    assert plan.open(order(strategy), on, 2) == range(2)
    plan.ordered(["scout/0", "scout/1"], "b-1", 7)
    assert plan.done(7, nobody) == ["scout/0", "scout/1"]
    plan.spawned(["scout/0", "scout/1"])
    return plan


def test_agents_are_spread_by_hosts_over_nodes_that_may_run_them() -> None:
    plan = PlacementPlan("a-1")
    plan.open(order(), (), 10)
    spread = plan.spread("scout", range(10), NODES, ())
    assert {node: len(chosen) for node, chosen in spread.items()} == {"a-1": 2, "b-1": 6, "c-1": 2}
    assert sorted(number for chosen in spread.values() for number in chosen) == list(range(10))
    assert set(plan.spread("scout", [0], NODES, ("gpu",))) == {"b-1"}
    assert set(plan.spread("scout", range(4), NODES, ("c", "a"))) == {"a-1", "c-1"}
    assert plan.spread("scout", [0], NODES, ("tpu",)) == {}
    plan.bar("scout", "b-1")
    assert plan.spread("scout", [0], NODES, ("gpu",)) == {}


def test_a_class_of_one_program_stays_there() -> None:
    plan = PlacementPlan("a-1")
    plan.open(order(module="__main__"), (), 2, only="a-1")
    assert plan.spread("scout", range(2), NODES, ()) == {"a-1": [0, 1]}


def test_a_group_has_one_class_and_goes_on_counting() -> None:
    plan = placed()
    assert plan.open(order(), (), 1, first=9) == range(9, 10)
    with pytest.raises(ConfigurationError, match="there is a group 'scout' of Scout already"):
        plan.open(order(module="city.judges"), (), 1)
    plan.remove(["scout/0", "scout/1", "scout/9"])
    assert not plan.groups
    assert plan.open(order(module="city.judges"), (), 0) == range(0)
    assert not plan.groups


@pytest.mark.parametrize("strategy", ["permanent", "transient"])
def test_agents_of_a_lost_node_are_ordered_from_another(strategy: str) -> None:
    plan = placed(strategy)
    assert plan.lost("b-1", "b") == ["scout/0", "scout/1"]
    moves, stranded = plan.due(1.0, [HOME, STRANGER], nobody)
    assert (moves, stranded) == ([Move("a-1", "scout", (0, 1), "b")], [])
    plan.ordered(["scout/0", "scout/1"], "a-1", 9)
    assert plan.due(1.0, [HOME], nobody) == ([], [])
    assert plan.done(9, nobody) == ["scout/0", "scout/1"]
    assert {one.node for one in plan.agents.values()} == {"a-1"}


def test_an_agent_that_never_comes_back_stays_at_its_node_until_that_is_forgotten() -> None:
    plan = placed("temporary")
    assert plan.lost("b-1", "b") == []
    assert plan.due(1.0, NODES, nobody) == ([], [])
    assert plan.forgotten("b-1") == ["scout/0", "scout/1"]
    assert not plan.agents


def test_agents_wait_where_no_node_may_run_them_and_are_told_of_once() -> None:
    plan = placed(on=("gpu",))
    plan.lost("b-1", "b")
    assert plan.due(1.0, [HOME, C], nobody) == ([], ["scout"])
    assert plan.due(2.0, [HOME, C], nobody) == ([], [])
    moves, _ = plan.due(3.0, [HOME, B], nobody)
    assert [move.node for move in moves] == ["b-1"]


def test_a_node_that_is_back_before_others_were_asked_keeps_its_agents() -> None:
    plan = placed()
    plan.lost("b-1", "b")
    assert plan.due(1.0, NODES, {"scout/0": "b-1"}.get)[0] == [Move("a-1", "scout", (1,), "b")]
    assert plan.agents["scout/0"].node == "b-1"


def test_an_order_that_fails_is_given_again_after_a_wait_that_grows() -> None:
    plan = placed()
    plan.lost("b-1", "b")
    for now, wait in ((1.0, 0.25), (2.0, 0.5), (3.0, 1.0)):
        plan.ordered(["scout/0", "scout/1"], "a-1", int(10 * now))
        assert plan.failed(now, int(10 * now)) == ["scout/0", "scout/1"]
        assert plan.due(now + wait - 0.01, [HOME], nobody) == ([], [])
        assert plan.due(now + wait, [HOME], nobody)[0]


def test_what_nodes_show_has_the_last_word_but_not_over_an_order_that_is_being_done() -> None:
    plan = placed()
    plan.shown("c-1", ["scout/0", "other/0"])
    assert plan.agents["scout/0"].node == "c-1"
    plan.ordered(["scout/1"], "a-1", 9)
    plan.shown("b-1", ["scout/1"])
    assert plan.agents["scout/1"].node == "a-1"
    plan.done(9, {"scout/1": "b-1"}.get)
    assert plan.agents["scout/1"].node == "b-1"


def test_only_the_node_that_has_an_agent_can_say_that_it_has_ended() -> None:
    plan = placed()
    assert plan.ended("c-1", ["scout/0"]) == []
    assert plan.ended("b-1", ["scout/0"], up_to=6) == []  # it speaks of one before the last order
    assert plan.ended("b-1", ["scout/0"], up_to=7) == ["scout/0"]
    assert plan.ended("b-1", ["scout/1"], again=True) == ["scout/1"]
    assert [move.numbers for move in plan.due(1.0, [HOME], nobody)[0]] == [(1,)]


def test_graves_are_closed_one_by_one() -> None:
    plan = placed()
    plan.bury(["scout/0"], "a-1", 3)  # this node needs none
    plan.bury(["scout/0"], "b-1", 3)
    plan.bury(["scout/1"], "b-1", 5)
    plan.unbury("b-1", ["scout/0", "scout/1"], 3)
    assert dict(plan.buried("b-1")) == {"scout/1": 5}
    plan.unbury("b-1", ["scout/1"], 5)
    assert plan.graveyards == []


def test_silence_says_nothing_while_a_node_does_not_hear_itself() -> None:
    echo = Echo(NodeTiming(heartbeat=0.25, suspected_after=1.0, lost_after=3.0))
    assert not echo.is_steady(0.0)
    for quarter in range(13):
        echo.heard(quarter / 4)
    assert echo.is_steady(3.2)
    assert not echo.is_steady(4.5)  # it has heard nothing for a second
    echo.heard(9.0)
    assert not echo.is_steady(9.5)  # others may not have been heard yet
    for quarter in range(13):
        echo.heard(9.0 + quarter / 4)
    assert echo.is_steady(12.1)


def test_a_copy_of_a_plan_follows_its_changes_and_takes_none_out_of_turn() -> None:
    plan, copy = PlacementPlan("home"), PlanCopy()
    plan.open(order(), (), 2)

    def change(number: int, since: int) -> CopyOrder:
        base, found = plan.change(since)
        return CopyOrder(number, "home", 1, (), base, plan.log.version, encode_change(found))

    first = change(1, 0)
    assert copy.take(first)
    plan.ordered(["scout/0"], "a", 7)
    plan.remove(["scout/1"])
    second = change(2, copy.version)
    assert second.base == first.version
    assert not PlanCopy().take(second)  # it does not know what that follows
    assert copy.take(second)
    assert list(copy.agents) == ["scout/0"]
    assert copy.agents["scout/0"].node == "a"
    assert not copy.take(second)
    plan.log.forget(plan.log.version)
    plan.remove(["scout/0"])
    assert change(3, first.version).base == 0  # all of it: what changed since then is forgotten


def test_who_takes_over_has_agents_that_were_there_where_they_are_and_others_waiting() -> None:
    plan, other = PlacementPlan("home"), PlacementPlan("second")
    plan.open(order(), (), 3)
    plan.ordered(["scout/0", "scout/1"], "a", 7)
    plan.done(7, lambda name: "a")
    plan.spawned(["scout/0", "scout/1"])
    plan.ordered(["scout/1"], "b", 9)
    copy = PlanCopy()
    copy.take(CopyOrder(1, "home", 1, (), 0, plan.log.version, encode_change(plan.change(0)[1])))
    assert other.take_over(copy, {"scout/2"}) == ["scout/0", "scout/1"]
    assert other.agents["scout/0"].node == "a"
    assert (other.agents["scout/1"].node, other.agents["scout/1"].haunts) == ("", {"b"})
    assert (other.groups["scout"].size, other.groups["scout"].own) == (2, False)
