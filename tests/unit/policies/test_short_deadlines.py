"""Deadlines of callers, which say nothing of a target as long as they are shorter than its usual time."""

import asyncio

import pytest

from tests.support.providers.clock import FakeClock
from three_mode import errors
from three_mode.observe import Metrics
from three_mode.policies import Attempts, BreakerOptions, CallContext, CircuitBreaker, Gate, RetryOptions, Target

A = Target("a", "m")
LATE = errors.DeadlineExceeded("the reply was not complete in the time allowed", stage="total")


def gate_of(clock: FakeClock, usual: float | None, *, failures: int = 2, patience: float = 10.0) -> Gate:
    options = BreakerOptions(failures=failures, cool_down=60, patience=patience)
    return Gate(A, CircuitBreaker(options, clock, lambda streamed: usual))


def state_after(gate: Gate, error: BaseException, given: float | None, times: int = 2) -> str:
    for _ in range(times):
        gate.try_enter()
        gate.failed(error, given=given)
    assert gate.breaker is not None
    return gate.breaker.state


@pytest.mark.parametrize(
    ("usual", "given", "state"),
    [
        (None, 9.9, "closed"),  # it never answered: only patience says anything
        (None, 10.0, "open"),
        (30.0, 29.0, "closed"),  # slower than this caller allows
        (30.0, 30.0, "open"),
        (0.001, 0.9, "closed"),  # fast, and a pause of its process is no failure
        (0.001, 1.0, "open"),
    ],
)
def test_a_call_that_had_less_time_than_usual_says_nothing(usual: float | None, given: float, state: str) -> None:
    assert state_after(gate_of(FakeClock(), usual), LATE, given) == state


def test_patience_may_be_less_than_a_second() -> None:
    assert state_after(gate_of(FakeClock(), 0.001, patience=0.1), LATE, 0.1) == "open"
    assert state_after(gate_of(FakeClock(), 0.001, patience=0.1), LATE, 0.09) == "closed"


@pytest.mark.parametrize("stage", ["connect", "write", "idle"])
def test_a_bound_of_the_transport_is_no_deadline_of_a_caller(stage: str) -> None:
    error = errors.DeadlineExceeded("silent", stage=stage)
    assert state_after(gate_of(FakeClock(), None), error, 0.1) == "open"


def test_a_bound_of_the_connection_is_no_deadline_of_a_caller() -> None:
    error = errors.DeadlineExceeded("no content came", stage="first token")
    assert state_after(gate_of(FakeClock(), 30.0), error, None) == "open"


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidRequest,
        errors.UnsupportedParameter,
        errors.ContextLength,
        errors.AuthenticationError,
        errors.PermissionDenied,
        errors.NotFound,
        errors.ContentFilter,
        errors.QuotaExhausted,
        errors.RateLimit,
        errors.BudgetExceeded,
        errors.ConfigurationError,
    ],
)
def test_a_refused_request_is_no_failure(kind: type[errors.ThreeModeError]) -> None:
    assert state_after(gate_of(FakeClock(), None), kind("no"), 60.0, times=20) == "closed"


def test_a_trial_with_too_short_a_deadline_leaves_the_trial_to_the_next() -> None:
    clock = FakeClock()
    gate = gate_of(clock, 5.0)
    assert state_after(gate, LATE, 60.0) == "open"
    clock.time += 60
    breaker = gate.breaker
    assert breaker is not None
    assert breaker.allow()
    gate.failed(LATE, given=0.1)
    assert breaker.state == "half-open"
    assert breaker.allow()


def test_a_stream_that_its_caller_cuts_says_nothing_and_one_that_falls_silent_does() -> None:
    gate = gate_of(FakeClock(), None, failures=1)
    breaker = gate.breaker
    assert breaker is not None
    gate.ended(LATE)
    assert breaker.state == "closed"
    gate.ended(errors.DeadlineExceeded("silent", stage="idle"))
    assert breaker.state == "open"


class Guards:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def breaker(self, target: Target) -> CircuitBreaker | None:
        return self._gate.breaker

    def limiter(self, target: Target) -> None:
        return None


async def run(gate: Gate, clock: FakeClock, operation: "Operation", within: float = 60.0) -> None:
    call = CallContext(deadline=clock.now() + within, began=clock.now())
    attempts = Attempts(Guards(gate), RetryOptions(attempts=3, first=1, jitter=0), clock=clock)
    task = asyncio.ensure_future(attempts.run(call, [A], operation))
    await clock.advance(10)
    with pytest.raises(errors.ThreeModeError):
        await task


class Operation:
    """Fails with the given errors, one after the other; the last one again and again."""

    def __init__(self, *failures: errors.ThreeModeError) -> None:
        self.failures, self.calls = list(failures), 0

    async def __call__(self, target: Target, due: float) -> str:
        self.calls += 1
        raise self.failures.pop(0) if len(self.failures) > 1 else self.failures[0]


async def test_the_retries_of_a_call_are_one_failure() -> None:
    clock, operation = FakeClock(), Operation(errors.ServerError("down"))
    gate = gate_of(clock, None, failures=2)
    breaker = gate.breaker
    assert breaker is not None
    await run(gate, clock, operation)
    assert (operation.calls, breaker.failures, breaker.state) == (3, 1, "closed")
    await run(gate, clock, operation)
    assert breaker.state == "open"
    assert operation.calls == 4, "the second call found the breaker open after its first attempt"


async def test_a_retry_that_is_the_trial_counts() -> None:
    clock, operation = FakeClock(), Operation(errors.ServerError("down"))
    gate = gate_of(clock, None, failures=1)
    breaker = gate.breaker
    assert breaker is not None
    call = CallContext(deadline=clock.now() + 200, began=clock.now(), blamed=(A,))
    breaker.failure()
    clock.time += 60
    attempts = Attempts(Guards(gate), RetryOptions(attempts=1), clock=clock)
    with pytest.raises(errors.ServerError):
        await attempts.run(call, [A], operation)
    assert breaker.state == "open"


def test_what_is_usual_is_measured_on_the_newest_answers() -> None:
    metrics = Metrics()
    assert metrics.usual("a", "m") is None
    for _ in range(200):
        metrics.record("a", "m", 9.0)
    for number in range(100):
        metrics.record("a", "m", 0.01 * (number + 1), first_content=0.001 * (number + 1))
    assert metrics.usual("a", "m") == pytest.approx(0.9)
    assert metrics.usual("a", "m", streamed=True) == pytest.approx(0.09)
    metrics.record("b", "m", 2.0)
    assert metrics.usual("b", "m", streamed=True) == 2.0, "no stream was measured"
