"""The bookkeeping without I/O: gathering, settling, chains, deadlines, histograms, dead letters."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.agents.calling.gather import Tally
from three_mode.agents.calling.roles import Roles
from three_mode.agents.runtime.broadcast import TIMED, share
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.supervisor.events import HandlerRaised, HostBack, HostLost, SupervisorEvents
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.errors import DeadlineExceeded, NoSuchAgent, PeerLost
from three_mode.handling import HandledCall as Call
from three_mode.handling import in_chain, split, time_for
from three_mode.histogram import Histogram


def tally(names: str, quorum: int | None) -> tuple[Tally, list[str]]:
    done: list[str] = []
    return Tally(list(names), quorum, lambda: done.append("done")), done


def test_a_gather_is_done_when_all_have_answered_or_failed() -> None:
    counted, done = tally("abc", None)
    counted.answer("a", 1)
    counted.fail("b", PeerLost("gone"))
    assert not done
    counted.answer("c", 3)
    counted.answer("c", 4)  # answers once only
    assert done == ["done"]
    result = counted.result()
    assert (result.values, list(result), result.missing) == ({"a": 1, "c": 3}, [1, 3], ())
    assert set(result.errors) == {"b"}
    assert not result.complete


def test_a_quorum_ends_it_early_and_the_rest_is_missing() -> None:
    counted, done = tally("abcd", 2)
    counted.answer("a", 1)
    counted.fail("b", PeerLost("gone"))
    assert not done
    counted.answer("c", 3)
    assert done == ["done"]
    result = counted.result()
    assert (result.missing, result.reached) == (("d",), True)


def test_a_quorum_out_of_reach_ends_when_nobody_is_left() -> None:
    counted, done = tally("ab", 2)
    counted.fail("a", PeerLost("gone"))
    assert not done  # the others' answers are still wanted
    counted.answer("b", 1)
    assert done == ["done"]
    assert not counted.result().reached


def test_settling_knows_who_is_late_and_who_lost_it() -> None:
    unsettled, told = Unsettled(), []
    first, second = unsettled.put_aside("@m", 5, "a"), unsettled.put_aside("@m", 5, "b")
    assert unsettled.count("@m", 5) == (2, 0)
    unsettled.when_settled("@m", 5, lambda: told.append("settled"))
    first(True)
    assert not told
    second(False)
    assert told == ["settled"]
    assert unsettled.count("@m", 5) == (0, 1)
    unsettled.when_settled("@m", 6, lambda: told.append("at once"))
    assert told[-1] == "at once"


def test_chains_are_followed_by_agent_and_turn() -> None:
    first = Call("a/1", 7)
    assert first.outgoing() == "|a/1:7"
    trace, chain = split(first.outgoing())
    second = Call("b/0", 2, chain=chain, trace="t")
    assert second.outgoing() == "t|a/1:7>b/0:2"
    _, chain = split(second.outgoing())
    assert (trace, in_chain(chain, "a/1", 7), in_chain(chain, "b/0", 2)) == ("", True, True)
    assert not in_chain(chain, "a/1", 8)
    assert not in_chain(chain, "a/1", 77)
    assert not in_chain(chain, "/1", 7)


def test_a_call_never_gets_more_time_than_remains() -> None:
    assert time_for(None, Call(), 30.0) == 30.0
    assert time_for(2.0, Call(), 30.0) == 2.0
    inherited = Call("a/1", 1, deadline=time.monotonic() + 1.0)
    assert 0.5 < time_for(10.0, inherited) <= 1.0
    assert time_for(0.25, inherited) == 0.25
    with pytest.raises(DeadlineExceeded, match="no time is left"):
        time_for(None, Call("a/1", 1, deadline=time.monotonic() - 1))
    with pytest.raises(DeadlineExceeded, match="above 0"):
        time_for(0, Call())
    assert Call().remaining() == math.inf


@given(st.lists(st.floats(2e-6, 100.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_at_most_a_quarter_too_much(samples: list[float], share: float) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    true = sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
    found = histogram.quantile(share)
    assert found is not None
    assert true * 0.999 <= found <= true * 1.26


def test_dead_letters_are_bounded_and_counted() -> None:
    dead_letters = DeadLetters(kept=2)
    for number in range(5):
        dead_letters.add(f"a/{number}", "f", "me", "overloaded", "full", b"x" * 5000)
    assert (dead_letters.count, [letter.to for letter in dead_letters.read()]) == (5, ["a/3", "a/4"])
    assert dead_letters.reasons["overloaded"] == 5
    assert (dead_letters.read()[0].size, len(dead_letters.read()[0].payload)) == (5000, 2048)


def test_a_role_goes_to_the_host_with_the_least_in_flight_and_in_turn() -> None:
    roles = Roles()
    roles.appeared(["any:critic@host-1", "any:critic@host-2", "scout/1"])
    first, second = roles.take("critic"), roles.take("critic")
    assert {first, second} == {"any:critic@host-1", "any:critic@host-2"}
    roles.give_back(second)
    assert roles.take("critic") == second  # the other one still has one in flight
    roles.disappeared([first])
    assert roles.take("critic") == second
    roles.give_back(first)  # which has gone meanwhile
    assert list(roles.hosts("critic")) == [second]
    with pytest.raises(NoSuchAgent, match="no agent has the role"):
        roles.take("judge")


@given(agents=st.integers(0, 1000), start=st.integers(0, 10_000), spread=st.booleans())
def test_every_agent_is_timed_once_in_so_many_messages(agents: int, start: int, spread: bool) -> None:
    shares = [share(start + n, agents, spread) for n in range(TIMED)]
    assert sorted(agent for first, last in shares for agent in range(first, last)) == list(range(agents))
    if spread:
        assert max(last - first for first, last in shares) <= agents // TIMED + 1


def test_failures_of_a_broadcast_are_counted_by_agent() -> None:
    unsettled = Unsettled()
    for agent in ("a", "b", "b"):
        unsettled.raised("@m", 5, agent)
    assert unsettled.failed("@m", 5) == 2
    assert unsettled.failed("@m", 6) == 0
    assert unsettled.count("@m", 5) == (0, 0)


def test_handlers_that_raise_push_no_other_event_out() -> None:
    events = SupervisorEvents(kept=4)
    events.add(HostLost("host-1", "killed", 3, when=1.0))
    for number in range(9):
        events.add(HandlerRaised(f"a/{number}", "read", "host-2", "no", when=2.0 + number))
    events.add(HostBack("host-1", 3, 0.1, when=9.5))
    assert [event.when for event in events.read()] == [1.0, 7.0, 8.0, 9.0, 9.5, 10.0]
