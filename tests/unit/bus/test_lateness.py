"""How long a member that is not back after the registry moved is only late."""

import pytest

from transports.bus.registry import lateness
from transports.bus.registry.lateness import BUSY_WITHIN, STOPPED_WITHIN, Lateness

PID = 7


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    states: dict[int, str] = {}
    monkeypatch.setattr(lateness, "process_state", lambda pid: states.get(pid, ""))
    return states


def test_a_process_that_runs_has_a_short_time(states: dict[int, str]) -> None:
    late = Lateness(since=100.0)
    states[PID] = "R"
    assert late.may_come_back(PID, 100.0 + BUSY_WITHIN - 0.1)
    assert not late.may_come_back(PID, 100.0 + BUSY_WITHIN)


def test_a_process_that_was_stopped_has_that_time_from_then_on(states: dict[int, str]) -> None:
    """It was declared dead as soon as it ran again, before it could come back."""
    late = Lateness(since=100.0)
    states[PID] = "T"
    assert late.may_come_back(PID, 102.0)
    assert late.may_come_back(PID, 110.0)
    states[PID] = "R"
    assert late.may_come_back(PID, 111.0)
    assert late.may_come_back(PID, 110.0 + BUSY_WITHIN - 0.1)
    assert not late.may_come_back(PID, 110.0 + BUSY_WITHIN)


def test_nobody_is_waited_for_longer_than_a_stopped_process(states: dict[int, str]) -> None:
    late = Lateness(since=100.0)
    states[PID] = "t"
    assert late.may_come_back(PID, 100.0 + STOPPED_WITHIN - 0.1)
    assert not late.may_come_back(PID, 100.0 + STOPPED_WITHIN)


@pytest.mark.parametrize("state", ["", "Z"])
def test_a_process_that_has_ended_is_not_waited_for(states: dict[int, str], state: str) -> None:
    states[PID] = state
    assert not Lateness(since=100.0).may_come_back(PID, 100.0)
