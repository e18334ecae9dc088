"""How long a member that is not back after the registry moved is only late."""

import pytest

from transports.bus.registry import lateness
from transports.bus.registry.lateness import HINDERED_WITHIN, IDLE_WITHIN, Lateness

PID = 7


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    states: dict[int, str] = {}
    monkeypatch.setattr(lateness, "process_state", lambda pid: states.get(pid, ""))
    return states


def test_a_process_that_waits_for_something_else_has_a_short_time(states: dict[int, str]) -> None:
    late = Lateness(since=100.0)
    states[PID] = "S"
    assert late.may_come_back(PID, 100.0 + IDLE_WITHIN - 0.1)
    assert not late.may_come_back(PID, 100.0 + IDLE_WITHIN)


@pytest.mark.parametrize("state", ["T", "R"])
def test_a_process_that_was_hindered_has_that_time_from_then_on(states: dict[int, str], state: str) -> None:
    """It was declared dead as soon as it ran again, before it could come back."""
    late = Lateness(since=100.0)
    states[PID] = state
    assert late.may_come_back(PID, 102.0)
    assert late.may_come_back(PID, 104.0)
    assert late.may_come_back(PID, 106.0)
    states[PID] = "S"
    assert late.may_come_back(PID, 106.0 + IDLE_WITHIN - 0.1)
    assert not late.may_come_back(PID, 106.0 + IDLE_WITHIN)


@pytest.mark.parametrize("state", ["T", "R"])
def test_a_process_that_stays_hindered_is_not_waited_for_for_ever(states: dict[int, str], state: str) -> None:
    late = Lateness(since=100.0)
    states[PID] = state
    longest = HINDERED_WITHIN[state]
    now = 100.0
    while late.may_come_back(PID, now):
        assert now < 100.0 + longest + IDLE_WITHIN
        now += 0.5
    assert now >= 100.0 + longest


@pytest.mark.parametrize("state", ["", "Z"])
def test_a_process_that_has_ended_is_not_waited_for(states: dict[int, str], state: str) -> None:
    states[PID] = state
    assert not Lateness(since=100.0).may_come_back(PID, 100.0)
