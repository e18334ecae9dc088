"""Retries, the breaker, the limiter, hedging and attempts, on a clock that the test moves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.providers.clock import FakeClock, settle
from three_mode import errors
from three_mode.policies import (
    AdaptiveLimiter,
    Attempts,
    BreakerOptions,
    CallContext,
    CircuitBreaker,
    HedgeOptions,
    LimiterOptions,
    RetryOptions,
    Target,
    backoff,
    hedged,
    wait_before_retry,
)
from three_mode.policies.breaker import trips
from three_mode.policies.fair_queue import FairQueue
from three_mode.providers import LimitReading
from three_mode.providers.headers import limits, retry_after, seconds

A, B = Target("a", "m"), Target("b", "m")


# Retry


def test_backoff_grows_and_is_bounded() -> None:
    options = RetryOptions(first=1, factor=2, most=5, jitter=0)
    assert [backoff(options, n) for n in (1, 2, 3, 4, 50)] == [1, 2, 4, 5, 5]


@given(st.integers(1, 30), st.floats(0, 1))
def test_jitter_only_shortens(failures: int, chance: float) -> None:
    options = RetryOptions()
    whole = backoff(options, failures, lambda: 0.0)
    assert whole * (1 - options.jitter) <= backoff(options, failures, lambda: chance) <= whole


@given(st.floats(0, 500), st.floats(0.001, 500), st.integers(1, 5))
def test_retry_after_is_never_undercut_and_never_beyond_the_deadline(
    asked: float, remaining: float, failures: int
) -> None:
    error = errors.RateLimit("x", retry_after=asked)
    wait = wait_before_retry(RetryOptions(attempts=10), failures, error, remaining)
    assert wait is None or asked <= wait < remaining
    if asked + 0.5 < remaining:
        assert wait is not None


def test_what_cannot_work_is_not_retried() -> None:
    assert wait_before_retry(RetryOptions(), 1, errors.AuthenticationError("x"), 100) is None
    assert wait_before_retry(RetryOptions(attempts=3), 3, errors.ServerError("x"), 100) is None


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12.0),
        ("1.5", 1.5),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1h2m3.5s", 3723.5),
        ("-3", 0.0),
        ("999999999", 86400.0),
        ("2027-01-15T08:00:10Z", 10.0),
        ("2027-01-15T08:00:10+00:00", 10.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("5 parsecs", None),
        ("inf", 86400.0),
        (None, None),
    ],
)
def test_every_format_of_a_wait(text: str | None, expected: float | None) -> None:
    assert seconds(text, NOW) == (pytest.approx(expected) if expected is not None else None)


@given(st.text(max_size=40))
def test_no_header_breaks_the_reader(text: str) -> None:
    found = seconds(text, NOW)
    assert found is None or 0 <= found <= 86400


def test_milliseconds_win_and_an_exhausted_bucket_speaks_where_nothing_else_does() -> None:
    assert retry_after([(b"retry-after", b"2"), (b"retry-after-ms", b"1500")]) == 1.5
    openai = [
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"6m0s"),
        (b"x-ratelimit-remaining-tokens", b"5"),
        (b"x-ratelimit-reset-tokens", b"1h"),
    ]
    assert retry_after(openai) == 360
    assert retry_after([]) is None


def test_anthropic_limits_are_the_tighter_of_input_and_output() -> None:
    reading = limits(
        [
            (b"anthropic-ratelimit-requests-remaining", b"9"),
            (b"anthropic-ratelimit-input-tokens-remaining", b"5000"),
            (b"anthropic-ratelimit-output-tokens-remaining", b"70"),
            (b"anthropic-ratelimit-output-tokens-reset", b"2027-01-15T08:00:10Z"),
        ],
        NOW,
    )
    assert reading == LimitReading(None, 9, None, None, 70, 10.0)


# Breaker


def test_the_breaker_opens_after_failures_in_a_row_and_tries_once() -> None:
    clock = FakeClock()
    breaker = CircuitBreaker(BreakerOptions(failures=5, cool_down=60), clock)
    for _ in range(4):
        breaker.failure()
    breaker.success()
    for _ in range(4):
        breaker.failure()
    assert breaker.state == "closed"
    assert breaker.allow()
    breaker.failure()
    assert breaker.state == "open"
    assert not breaker.allow()
    assert breaker.opens_in() == 60
    clock.time += 59.9
    assert not breaker.allow()
    clock.time += 0.1
    assert breaker.state == "half-open"
    assert breaker.allow()
    assert not breaker.allow(), "a second trial"
    breaker.failure()
    assert breaker.state == "open"
    clock.time += 60
    assert breaker.allow()
    breaker.abandoned()
    assert breaker.allow(), "a trial that was cancelled says nothing"
    breaker.success()
    assert breaker.state == "closed"
    assert breaker.allow()


def test_a_stream_that_has_begun_lets_others_go_and_forgets_nothing() -> None:
    clock = FakeClock()
    breaker = CircuitBreaker(BreakerOptions(failures=2, cool_down=60), clock)
    breaker.failure()
    breaker.began()
    breaker.failure()
    assert breaker.state == "open"
    clock.time += 60
    assert breaker.allow()
    breaker.began()
    assert breaker.closed
    assert not breaker.at_rest
    breaker.failure()
    assert not breaker.closed
    breaker.success()
    assert breaker.at_rest


def test_what_trips_a_breaker() -> None:
    assert all(trips(kind("x")) for kind in (errors.ServerError, errors.ConnectionFailed, errors.DeadlineExceeded))
    assert not any(trips(kind("x")) for kind in (errors.RateLimit, errors.AuthenticationError, errors.InvalidRequest))


# Limiter


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=60))
def test_the_queue_is_fair_and_keeps_order_within_a_caller(items: list[tuple[str, int]]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(1000)
    for caller, value in items:
        assert queue.push(caller, (caller, value))
    out = [queue.pop() for _ in range(len(queue))]
    for caller in "abc":
        assert [each for each in out if each[0] == caller] == [each for each in items if each[0] == caller]
    for place in range(len(out) - 1):
        later = {each[0] for each in out[place + 1 :]}
        if out[place][0] == out[place + 1][0]:
            assert later == {out[place][0]}, "a caller went twice while another waited"


def test_the_queue_is_bounded() -> None:
    queue: FairQueue[int] = FairQueue(2)
    assert [queue.push("a", 1), queue.push("b", 2), queue.push("c", 3)] == [True, True, False]


async def test_remaining_requests_are_counted_down_and_come_back() -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(clock=clock)
    limiter.learn(LimitReading(requests_remaining=2, requests_reset=10))
    assert limiter.try_acquire()
    assert limiter.try_acquire()
    assert not limiter.try_acquire()
    waiting = asyncio.ensure_future(limiter.acquire("x"))
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.1)
    assert await waiting == pytest.approx(10)


async def test_tokens_hold_back_only_calls_that_need_more_than_is_left() -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(clock=clock)
    limiter.learn(LimitReading(tokens_remaining=100, tokens_reset=5))
    assert not limiter.try_acquire(101)
    assert limiter.try_acquire(60)
    assert not limiter.try_acquire(60)
    assert limiter.try_acquire(40)


async def test_a_429_pauses_and_halves_and_successes_raise_again() -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(LimiterOptions(at_once=64), clock)
    for _ in range(16):
        assert limiter.try_acquire()
    for _ in range(16):  # a burst of refusals is one refusal
        limiter.release()
        limiter.refused(2.0)
    assert limiter.at_once == 8
    assert not limiter.try_acquire()
    await clock.advance(2.0)
    assert limiter.try_acquire()
    for _ in range(200):
        limiter.succeeded()
    assert limiter.at_once > 16


async def test_a_wait_beyond_the_deadline_is_refused_now() -> None:
    limiter = AdaptiveLimiter(clock=FakeClock())
    limiter.refused(30)
    with pytest.raises(errors.RateLimit) as caught:
        await limiter.acquire("x", within=29)
    assert caught.value.retry_after == 30


@pytest.mark.parametrize("refused", [False, True])
async def test_a_wait_ends_at_the_deadline_whatever_lengthens_it(refused: bool) -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(LimiterOptions(at_once=1), clock)
    assert limiter.try_acquire()
    waiting = asyncio.ensure_future(limiter.acquire("x", within=5))
    behind = asyncio.ensure_future(limiter.acquire("x"))
    await clock.advance(4.9)
    assert not waiting.done()
    if refused:
        limiter.refused(60)
        limiter.release()
    await clock.advance(0.1)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await waiting
    assert caught.value.stage == "queue"
    if not refused:
        limiter.release()
    await clock.advance(60)
    await asyncio.wait_for(behind, 1)
    assert (limiter.in_flight, limiter.waiting) == (1, 0)


async def test_those_who_wait_are_told_when_it_is_closed() -> None:
    limiter = AdaptiveLimiter(clock=FakeClock())
    limiter.refused(30)
    waiting = asyncio.ensure_future(limiter.acquire("x"))
    await settle()
    limiter.close()
    with pytest.raises(errors.ConfigurationError, match="closed"):
        await asyncio.wait_for(waiting, 1)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_the_budget_is_shared_fairly() -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(LimiterOptions(at_once=1), clock)
    assert limiter.try_acquire()
    order: list[str] = []

    async def call(caller: str) -> None:
        await limiter.acquire(caller)
        order.append(caller)
        await asyncio.sleep(0)
        limiter.release()

    tasks = [asyncio.ensure_future(call("greedy")) for _ in range(10)]
    await settle()
    tasks.append(asyncio.ensure_future(call("modest")))
    await settle()
    limiter.release()
    await asyncio.gather(*tasks)
    assert order.index("modest") == 1


async def test_a_full_queue_and_a_waiter_that_leaves() -> None:
    limiter = AdaptiveLimiter(LimiterOptions(at_once=1, waiting=1), FakeClock())
    assert limiter.try_acquire()
    waiting = asyncio.ensure_future(limiter.acquire("a"))
    await settle()
    with pytest.raises(errors.Overloaded):
        await limiter.acquire("b")
    waiting.cancel()
    await settle()
    assert limiter.waiting == 0
    other = asyncio.ensure_future(limiter.acquire("c"))
    await settle()
    limiter.release()
    await other
    assert limiter.in_flight == 1


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_gives_it_on() -> None:
    limiter = AdaptiveLimiter(LimiterOptions(at_once=1), FakeClock())
    assert limiter.try_acquire()
    first, second = (asyncio.ensure_future(limiter.acquire(name)) for name in "ab")
    await settle()
    limiter.release()  # first's turn: its future is set, its task has not run
    first.cancel()
    await settle()
    await asyncio.wait_for(second, 1)
    assert limiter.in_flight == 1


# Hedging


async def test_the_second_runner_starts_late_and_the_loser_is_cancelled() -> None:
    clock = FakeClock()
    cancelled: list[str] = []

    async def never() -> str:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append("first")
            raise
        return "never"

    async def quick() -> str:
        return "second"

    race = asyncio.ensure_future(hedged(never, quick, 1.0, clock=clock))
    await clock.advance(0.9)
    assert not race.done()
    await clock.advance(0.1)
    assert await race == ("second", True)
    assert cancelled == ["first"]


async def test_a_first_runner_in_time_runs_alone_and_fails_alone() -> None:
    ran = []

    async def fails() -> str:
        raise errors.ServerError("x")

    async def second() -> str:
        ran.append(1)
        return "second"

    with pytest.raises(errors.ServerError):
        await hedged(fails, second, 1.0, clock=FakeClock())
    assert ran == []


async def test_a_late_result_is_discarded_and_cancelling_the_race_cancels_both() -> None:
    clock = FakeClock()
    gate = asyncio.Event()
    discarded: list[str] = []

    cancelled: list[str] = []

    async def runner(name: str) -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        return name

    race = asyncio.ensure_future(hedged(lambda: runner("1"), lambda: runner("2"), 1.0, discarded.append, clock))
    await clock.advance(1)
    gate.set()
    winner, _ = await race
    assert sorted([winner, *discarded, *cancelled]) == ["1", "2"], "a result was lost"
    gate.clear()
    race = asyncio.ensure_future(hedged(lambda: runner("1"), lambda: runner("2"), 1.0, clock=clock))
    await clock.advance(1)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_a_first_result_is_discarded_where_its_caller_leaves_while_the_second_ends() -> None:
    clock, discarded, begun, may_end = FakeClock(), list[str](), asyncio.Event(), asyncio.Event()

    async def first() -> str:
        await begun.wait()
        return "first"

    async def second() -> str:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            await may_end.wait()
        return "second"

    race = asyncio.ensure_future(hedged(first, second, 1.0, discarded.append, clock))
    await clock.advance(1.0)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert discarded == ["first"]
    may_end.set()


async def test_the_callers_own_cancellation_is_not_taken_for_ours() -> None:
    clock = FakeClock()
    discarded: list[str] = []

    async def slow() -> str:
        await asyncio.sleep(1000)
        return "first"

    async def quick() -> str:
        task.cancel()  # the caller leaves in the moment that the second wins
        return "second"

    task = asyncio.ensure_future(hedged(slow, quick, 1.0, discarded.append, clock))
    await clock.advance(1)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert discarded == ["second"]


async def test_the_second_saves_a_first_that_fails_late() -> None:
    clock = FakeClock()
    gates = asyncio.Event(), asyncio.Event()

    async def fails() -> str:
        await gates[0].wait()
        raise errors.ServerError("x")

    async def second() -> str:
        await gates[1].wait()
        return "second"

    task = asyncio.ensure_future(hedged(fails, second, 1.0, clock=clock))
    await clock.advance(1)
    gates[0].set()
    await settle()
    gates[1].set()
    assert await task == ("second", True)
    assert task.cancelling() == 0


# Attempts


class NoGuards:
    def breaker(self, target: Target) -> None:
        return None

    def limiter(self, target: Target) -> None:
        return None


class Breakers(NoGuards):
    def __init__(self, clock: FakeClock) -> None:
        self.of = {target: CircuitBreaker(BreakerOptions(failures=1), clock) for target in (A, B)}

    def breaker(self, target: Target) -> CircuitBreaker:  # type: ignore[override]
        return self.of[target]


def a_call(clock: FakeClock, within: float = 60, first_content: float | None = None) -> CallContext:
    return CallContext(deadline=clock.now() + within, began=clock.now(), first_content=first_content)


async def test_all_fail_then_the_soonest_is_tried_first() -> None:
    clock = FakeClock()
    tried: list[tuple[str, float]] = []

    async def operation(target: Target, due: float) -> str:
        tried.append((target.provider, clock.now() - 1000))
        if len(tried) <= 2:
            raise errors.RateLimit("x", retry_after=9.0 if target is A else 4.0)
        return target.provider

    attempts = Attempts(NoGuards(), RetryOptions(first=1, jitter=0), clock=clock)
    task = asyncio.ensure_future(attempts.run(a_call(clock), [A, B], operation))
    await clock.advance(4)
    assert await task == "b"
    assert tried == [("a", 0), ("b", 0), ("b", 4)]


@pytest.mark.parametrize(("within", "second"), [(60, ("a", 9)), (8, None)])
async def test_whoever_asked_for_a_longer_wait_is_not_asked_before_it(
    within: float, second: tuple[str, float] | None
) -> None:
    clock = FakeClock()
    tried: list[tuple[str, float]] = []

    async def operation(target: Target, due: float) -> str:
        tried.append((target.provider, clock.now() - 1000))
        if tried[-1] == ("a", 9):
            return "a"
        raise errors.ProviderOverloaded("x", retry_after=9.0 if target is A else 3.0)

    attempts = Attempts(NoGuards(), RetryOptions(first=1, jitter=0), clock=clock)
    task = asyncio.ensure_future(attempts.run(a_call(clock, within), [A, B], operation))
    await clock.advance(9)
    if second is not None:
        assert await task == "a"
        assert tried == [("a", 0), ("b", 0), ("b", 3), ("a", 9)]
    else:
        with pytest.raises(errors.ProviderOverloaded):
            await task
        assert tried == [("a", 0), ("b", 0), ("b", 3), ("b", 6)]


async def test_all_but_the_last_have_a_limit_to_their_first_content() -> None:
    clock = FakeClock()
    due: list[float] = []

    async def operation(target: Target, until: float) -> str:
        due.append(until - clock.now())
        raise errors.ServerError("x")

    attempts = Attempts(NoGuards(), RetryOptions(attempts=1), clock=clock)
    with pytest.raises(errors.AllProvidersFailed):
        await attempts.run(a_call(clock, within=60, first_content=1.5), [A, B], operation)
    assert due == [1.5, 60]


async def test_an_open_circuit_is_skipped_without_waiting() -> None:
    clock = FakeClock()
    guards = Breakers(clock)
    guards.of[A].failure()
    tried: list[str] = []

    async def operation(target: Target, due: float) -> str:
        tried.append(target.provider)
        return target.provider

    call = a_call(clock)
    assert await Attempts(guards, RetryOptions(), clock=clock).run(call, [A, B], operation) == "b"
    assert tried == ["b"]
    guards.of[B].failure()
    with pytest.raises(errors.AllProvidersFailed) as caught:
        await Attempts(guards, RetryOptions(), clock=clock).run(a_call(clock), [A, B], operation)
    assert {type(cause) for cause in caught.value.causes} == {errors.CircuitOpen}


async def test_a_cancelled_call_says_nothing_of_its_target() -> None:
    clock = FakeClock()
    guards = Breakers(clock)

    async def operation(target: Target, due: float) -> str:
        await asyncio.sleep(1000)
        return ""

    task = asyncio.ensure_future(Attempts(guards, RetryOptions(), clock=clock).run(a_call(clock), [A], operation))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guards.of[A].state == "closed"


async def test_hedging_with_the_next_target() -> None:
    clock = FakeClock()

    async def operation(target: Target, due: float) -> str:
        if target is A:
            await asyncio.sleep(1000)
        return target.provider

    call = a_call(clock)
    attempts = Attempts(NoGuards(), RetryOptions(), HedgeOptions(after=0.5), clock)
    task = asyncio.ensure_future(attempts.run(call, [A, B], operation))
    await clock.advance(0.5)
    assert await task == "b"
    assert [step.kind for step in call.steps] == ["attempt", "hedged", "attempt"]


def test_a_429_that_names_no_time_halves_and_pauses_nobody_unless_told_to() -> None:
    clock = FakeClock()
    limiter = AdaptiveLimiter(LimiterOptions(at_once=64), clock)
    for _ in range(16):
        assert limiter.try_acquire()
    for _ in range(16):  # a burst of refusals is one refusal
        limiter.release()
        limiter.refused(None)
    assert limiter.at_once == 8
    assert limiter.ready_in() == 0
    assert limiter.try_acquire()
    paused = AdaptiveLimiter(LimiterOptions(pause=3.0), clock)
    paused.refused(None)
    assert paused.ready_in() == 3.0


async def test_a_429_that_names_no_time_is_retried_when_the_options_say() -> None:
    clock, tried = FakeClock(), list[float]()
    limiter = AdaptiveLimiter(clock=clock)

    class Limited(NoGuards):
        def limiter(self, target: Target) -> AdaptiveLimiter:  # type: ignore[override]
            return limiter

    async def operation(target: Target, due: float) -> str:
        tried.append(clock.now() - 1000)
        if len(tried) < 4:
            raise errors.RateLimit("slow down", status=429)
        return "answer"

    retry = RetryOptions(attempts=4, first=0.25, factor=2, jitter=0)
    task = asyncio.ensure_future(Attempts(Limited(), retry, clock=clock).run(a_call(clock), [A], operation))
    await clock.advance(10)
    assert await task == "answer"
    assert tried == [0, 0.25, 0.75, 1.75]
