"""Which breaker and limiter a target has, and which are forgotten."""

from tests.support.providers.clock import FakeClock
from three_mode import errors
from three_mode.calls.gates import MOST, Gates
from three_mode.policies import Policies, Target
from three_mode.providers import LimitReading


def test_models_of_a_provider_share_its_limiter_and_agents_share_none() -> None:
    gates = Gates(Policies(), FakeClock())
    one, other = gates.gate(Target("openai", "a")), gates.gate(Target("openai", "b"))
    assert one.limiter is other.limiter
    assert one.breaker is not other.breaker
    scouts = [gates.gate(Target("agent", f"scout/{number}")) for number in range(2)]
    assert scouts[0].limiter is not scouts[1].limiter
    assert gates.gate(Target("agent", "scout/0")).breaker is scouts[0].breaker


def test_policies_may_have_neither() -> None:
    gate = Gates(Policies(breaker=None, limiter=None), FakeClock()).gate(Target("openai", "a"))
    assert (gate.breaker, gate.limiter) == (None, None)


def test_holders_let_go_before_anything_is_forgotten() -> None:
    gates, calls = Gates(Policies(), FakeClock()), list[int]()
    gates.on_forget(lambda: calls.append(1))
    for number in range(MOST):
        gates.breaker(Target("agent", f"scout/{number}"))
    assert not calls
    gates.breaker(Target("agent", "one more"))
    assert len(calls) == 1


def test_what_an_endpoint_hears_reaches_the_limiter_of_its_provider() -> None:
    gates = Gates(Policies(), FakeClock())
    listen = gates.limit_listener("openai")
    assert listen is not None
    listen(LimitReading(requests_remaining=0, requests_reset=5.0))
    limiter = gates.limiter(Target("openai", "a"))
    assert limiter is not None
    assert limiter.ready_in() == 5.0


def test_states_name_the_targets_that_are_not_well() -> None:
    gates = Gates(Policies(), FakeClock())
    gate = gates.gate(Target("openai", "a"))
    gates.gate(Target("openai", "b"))
    for _ in range(5):
        assert gate.try_enter()
        gate.failed(errors.ServerError("down", status=500))
    assert gates.states() == {"openai/a": "open"}
