"""When something that ended comes back: pure rules, with the clock as an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.agents.supervisor.placement import place
from three_mode.agents.supervisor.restart import Again, GivenUp, History, Restart
from three_mode.errors import ConfigurationError, ModeUnavailable


def test_strategies_decide_who_comes_back() -> None:
    def verdict(strategy: str, failed: bool) -> bool:
        return isinstance(History(Restart(strategy)).ended(0.0, failed, "why"), Again)

    assert [verdict("permanent", failed) for failed in (True, False)] == [True, True]
    assert [verdict("transient", failed) for failed in (True, False)] == [True, False]
    assert [verdict("temporary", failed) for failed in (True, False)] == [False, False]


def test_too_often_within_the_time_is_given_up_and_says_why() -> None:
    history = History(Restart("permanent", limit=3, within=10.0))
    assert [history.ended(now, True, "boom") for now in (0.0, 1.0, 2.0)] == [Again(0.0)] * 3
    verdict = history.ended(3.0, True, "boom")
    assert verdict == GivenUp("restarted 3 times in 10 s; at last: boom", True)


def test_old_returns_are_forgotten() -> None:
    history = History(Restart("permanent", limit=2, within=10.0))
    assert all(isinstance(history.ended(now, True, ""), Again) for now in (0.0, 6.0, 12.0, 18.0, 24.0))
    assert history.total == 5


def test_the_time_of_a_start_that_failed_makes_no_return_forgotten() -> None:
    history, now = History(Restart("permanent", limit=3, within=10.0)), 0.0
    for _ in range(3):
        assert isinstance(history.ended(now, True, "slow"), Again)
        now += 60.0
        history.start_took(60.0)
    assert isinstance(history.ended(now, True, "slow"), GivenUp)
    assert isinstance(history.ended(now + 11.0, True, "slow"), Again)  # time in which it ran, or waited, does count


def test_the_wait_grows_to_its_limit_and_the_first_is_at_once() -> None:
    history = History(Restart("permanent", limit=10, within=100.0, wait=0.5, wait_at_most=3.0))
    waits = [verdict.wait for now in range(6) if isinstance(verdict := history.ended(float(now), True, ""), Again)]
    assert waits == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


@given(times=st.lists(st.floats(0.0, 5.0), max_size=40), limit=st.integers(0, 5), within=st.floats(0.5, 10.0))
def test_never_more_than_the_limit_in_any_window(times: list[float], limit: int, within: float) -> None:
    history, now, returns = History(Restart("permanent", limit=limit, within=within)), 0.0, []
    for step in times:
        now += step
        if isinstance(history.ended(now, True, ""), Again):
            returns.append(now)
    for first in returns:
        assert sum(first <= one <= first + within * 0.999 for one in returns) <= max(limit, 0)


def test_a_policy_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="permanent, transient, temporary"):
        Restart("sometimes")
    with pytest.raises(ConfigurationError, match="limit"):
        Restart(limit=-1)


@given(
    count=st.integers(0, 300),
    loads=st.dictionaries(st.text("ab", min_size=1), st.integers(0, 50), min_size=1),
)
def test_placement_levels_the_hosts_and_places_each_once(count: int, loads: dict[str, int]) -> None:
    placed = place(range(count), loads)
    assert sorted(number for numbers in placed.values() for number in numbers) == list(range(count))
    after = {host: load + len(placed.get(host, ())) for host, load in loads.items()}
    filled = [after[host] for host in placed]
    if filled:
        assert max(filled) - min(after.values()) <= 1


def test_no_host_is_an_error() -> None:
    with pytest.raises(ModeUnavailable, match="no host"):
        place([1], {})


def test_an_end_that_was_anothers_fault_does_not_count_towards_the_limit() -> None:
    history = History(Restart("permanent", limit=1))
    for _ in range(5):
        assert history.ended_without_fault("killed") == Again(0.0)
    assert isinstance(history.ended(0.0, True, "killed"), Again)
    assert isinstance(history.ended(1.0, True, "killed"), GivenUp)
    assert history.total == 6
    assert History(Restart("temporary")).ended_without_fault("killed") == GivenUp("killed", True)
