"""The gate before a target, on a clock that the test moves."""

import asyncio

import pytest

from tests.support.providers.clock import FakeClock, settle
from three_mode import errors
from three_mode.policies import AdaptiveLimiter, BreakerOptions, CircuitBreaker, Gate, LimiterOptions, Target

A = Target("a", "m")
DOWN = errors.ServerError("down", status=500)


def gate_of(clock: FakeClock, *, failures: int = 1, at_once: int = 2) -> Gate:
    breaker = CircuitBreaker(BreakerOptions(failures=failures, cool_down=10), clock)
    return Gate(A, breaker, AdaptiveLimiter(LimiterOptions(at_once=at_once), clock))


def parts(gate: Gate) -> tuple[CircuitBreaker, AdaptiveLimiter]:
    assert gate.breaker is not None
    assert gate.limiter is not None
    return gate.breaker, gate.limiter


async def test_a_gate_without_breaker_and_limiter_lets_all_pass() -> None:
    gate = Gate(A)
    assert gate.try_enter()
    assert gate.try_enter_unhindered()
    assert await gate.enter("me", 1, 1.0) is None
    gate.succeeded()
    gate.failed(DOWN)
    gate.left()
    gate.ended(DOWN)


def test_a_call_takes_a_place_and_gives_it_back_however_it_leaves() -> None:
    gate = gate_of(FakeClock())
    _, limiter = parts(gate)
    for leave in (gate.succeeded, gate.left, lambda: gate.failed(errors.InvalidRequest("no")), gate.succeeded):
        assert gate.try_enter(tokens=5)
        assert limiter.in_flight == 1
        leave()
        assert limiter.in_flight == 0


@pytest.mark.parametrize(
    ("error", "state"),
    [(errors.BadReply("no JSON"), "open"), (errors.SchemaMismatch("not", keyword="not"), "closed")],
)
def test_an_answer_that_does_not_fit_its_schema_is_no_failure_of_the_model(error: Exception, state: str) -> None:
    gate = gate_of(FakeClock())
    assert gate.try_enter()
    gate.failed(error)
    assert parts(gate)[0].state == state


def test_a_refused_entry_takes_nothing() -> None:
    gate = gate_of(FakeClock(), at_once=1)
    breaker, limiter = parts(gate)
    assert gate.try_enter()
    assert not gate.try_enter()
    assert not gate.try_enter_unhindered()
    assert limiter.in_flight == 1
    gate.failed(DOWN)
    assert breaker.state == "open"
    assert not gate.try_enter()
    assert limiter.in_flight == 0


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest("no"),
        errors.AuthenticationError("no"),
        errors.RateLimit("slow down", status=429),
        errors.ContentFilter("no"),
        asyncio.CancelledError(),
    ],
)
def test_a_refused_request_is_no_failure_of_the_target(error: BaseException) -> None:
    gate = gate_of(FakeClock())
    breaker, _ = parts(gate)
    assert gate.try_enter()
    gate.failed(error)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_429_pauses_the_limiter_and_narrows_it() -> None:
    clock = FakeClock()
    gate = gate_of(clock, at_once=8)
    _, limiter = parts(gate)
    assert gate.try_enter()
    gate.failed(errors.RateLimit("slow down", status=429, retry_after=3.0))
    assert limiter.ready_in() == 3.0
    assert limiter.at_once < 8
    assert not gate.try_enter()
    clock.time += 3
    assert gate.try_enter()


def test_unhindered_is_only_who_knows_of_no_failure_and_of_no_limit() -> None:
    clock = FakeClock()
    gate = gate_of(clock, failures=5)
    breaker, limiter = parts(gate)
    assert gate.try_enter_unhindered()
    gate.failed(DOWN)
    assert gate.try_enter()
    assert not gate.try_enter_unhindered(), "a failure is known"
    gate.succeeded()
    assert breaker.failures == 0
    assert gate.try_enter_unhindered()
    gate.failed(errors.RateLimit("slow down", status=429, retry_after=1.0))
    clock.time += 1
    assert not gate.try_enter_unhindered(), "a limit is known"
    assert limiter.in_flight == 0


async def test_an_open_breaker_refuses_until_its_cool_down_and_then_lets_one_pass() -> None:
    clock = FakeClock()
    gate = gate_of(clock)
    breaker, _ = parts(gate)
    assert gate.try_enter()
    gate.failed(DOWN)
    with pytest.raises(errors.CircuitOpen) as caught:
        await gate.enter("me", 1, 60.0)
    assert (caught.value.retry_after, caught.value.provider, caught.value.model) == (10.0, "a", "m")
    clock.time += 10
    assert not gate.try_enter(), "a trial is no ordinary call"
    assert await gate.enter("me", 1, 60.0) is None
    with pytest.raises(errors.CircuitOpen):
        await gate.enter("me", 1, 60.0)
    gate.succeeded()
    assert breaker.state == "closed"
    assert gate.try_enter()


async def test_a_cancelled_trial_may_be_tried_again() -> None:
    clock = FakeClock()
    gate = gate_of(clock)
    assert gate.try_enter()
    gate.failed(DOWN)
    clock.time += 10
    assert await gate.enter("me", 1, 60.0) is None
    gate.failed(asyncio.CancelledError())
    assert await gate.enter("me", 1, 60.0) is None


async def test_a_call_waits_for_its_turn_and_is_told_how_long() -> None:
    clock = FakeClock()
    gate = gate_of(clock, at_once=1)
    _, limiter = parts(gate)
    assert gate.try_enter()
    waiting = asyncio.ensure_future(gate.enter("me", 1, 60.0))
    await clock.advance(2)
    assert not waiting.done()
    gate.succeeded()
    assert await waiting == 2.0
    assert limiter.in_flight == 1


async def test_a_turn_that_does_not_come_says_nothing_of_the_target() -> None:
    clock = FakeClock()
    gate = gate_of(clock, at_once=1)
    breaker, limiter = parts(gate)
    assert gate.try_enter()
    gate.failed(DOWN)
    clock.time += 10
    assert limiter.try_acquire()
    trial = asyncio.ensure_future(gate.enter("me", 1, 60.0))
    await settle()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert breaker.state == "half-open"
    limiter.release()
    assert await gate.enter("me", 1, 60.0) is None, "the trial is still to be made"


async def test_the_first_content_of_a_stream_ends_a_trial_and_forgets_no_failure() -> None:
    clock = FakeClock()
    gate = gate_of(clock, failures=2)
    breaker, limiter = parts(gate)
    for _ in range(2):
        assert gate.try_enter()
        gate.failed(DOWN)
    clock.time += 10
    assert await gate.enter("me", 1, 60.0) is None
    gate.succeeded(streaming=True)
    assert (breaker.state, breaker.failures, limiter.in_flight) == ("closed", 2, 0)
    gate.ended(errors.StreamInterrupted("broke off"))
    assert breaker.state == "open"


def test_the_end_of_a_stream_judges_its_target() -> None:
    gate = gate_of(FakeClock(), failures=2)
    breaker, _ = parts(gate)
    for error, failures in ((DOWN, 1), (errors.InvalidRequest("no"), 1), (None, 0)):
        assert gate.try_enter()
        gate.succeeded(streaming=True)
        gate.ended(error)
        assert breaker.failures == failures


def test_who_left_says_nothing_of_the_target() -> None:
    gate = gate_of(FakeClock(), failures=2)
    breaker, limiter = parts(gate)
    assert gate.try_enter()
    gate.failed(DOWN)
    assert gate.try_enter()
    gate.left(answered=True)
    assert (breaker.failures, limiter.in_flight) == (1, 0)
