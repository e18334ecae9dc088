"""Loop around a call: chooses the next target, waits before retries, and gives up at the one deadline. It owns all
retries.

Each round tries each target in order: its gate (breaker and limiter) must let the call pass before the deadline, and
then the operation runs. A failure moves on to the next target at once. When all have failed, the loop waits once, for
the target that may answer soonest. All targets but the last have `first_content` seconds to their first content.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from logging import WARNING
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from three_mode import waits
from three_mode.errors import (
    AllProvidersFailed,
    CircuitOpen,
    ConfigurationError,
    ContentFilter,
    DeadlineExceeded,
    InvalidRequest,
    LLMError,
    ModeConflict,
    ThreeModeError,
)
from three_mode.messages import Step
from three_mode.observe.logs import event, logger
from three_mode.policies.breaker import CircuitBreaker
from three_mode.policies.clock import MONOTONIC, Clock
from three_mode.policies.gate import Gate
from three_mode.policies.hedge import Hedge
from three_mode.policies.limiter import AdaptiveLimiter
from three_mode.policies.options import HedgeOptions
from three_mode.policies.retry import RetryOptions, wait_before_retry
from three_mode.policies.routing import Target

T = TypeVar("T")
# Errors that another target would repeat.
_FINAL = (ModeConflict, ContentFilter)


class CallContext(Struct, eq=False):
    """One call of the user, as policies see it."""

    deadline: float  #: in the clock's time
    began: float  #: start of the call, in the clock's time
    caller: str = ""  #: caller, for fair queues
    tokens: int = 0  #: estimate of the tokens of the prompt
    first_content: float | None = None  #: seconds to the first content for all targets but the last; None: no bound
    slow_moves_on: bool = True  #: whether the second attempt of a hedged call goes to the next target, if there is one
    #: whether an attempt ends at the first content; the reader of the rest then reports the end to the breaker
    streamed: bool = False
    steps: list[Step] = []  #: steps so far, which go into the reply
    blamed: tuple[Target, ...] = ()  #: targets whose failure was counted: the retries of a call are one failure
    resumed: bool = False  #: whether its next attempt only reports one that was made elsewhere, from the beginning on
    request_id: str = ""  #: id of the call in logs
    listener: Callable[[Step], object] | None = None  #: hears of each step at its moment

    def add_step(self, kind: str, now: float, target: Target | None = None, why: str | None = None) -> None:
        """Adds a step; `now` is in the clock's time."""
        if why is None and target is not None and target.grpc:
            why = "over gRPC"
        step = Step(
            kind,  # type: ignore[arg-type]
            now - self.began,
            target.provider if target else None,
            target.model if target else None,
            why,
        )
        self.steps.append(step)
        if self.listener is not None:
            self.listener(step)


Operation = Callable[[Target, float], Awaitable[T]]  # takes the target, and when its first content is due (loop time)


class Guards(Protocol):
    """Breakers and limiters of all targets."""

    def breaker(self, target: Target) -> CircuitBreaker | None:
        """Breaker of a target; None where it has none."""

    def limiter(self, target: Target) -> AdaptiveLimiter | None:
        """Limiter of a target; None where it has none."""


def moves_on(error: BaseException) -> bool:
    """Whether another target may succeed after this error."""
    if type(error) is InvalidRequest or isinstance(error, _FINAL):
        return False
    return isinstance(error, ThreeModeError)


class Attempts:
    """Runs an operation against targets until one answers."""

    def __init__(
        self,
        guards: Guards,
        retry: RetryOptions,
        hedge: HedgeOptions | None = None,
        clock: Clock = MONOTONIC,
        discard: Callable[[Any], None] = lambda _: None,
        instead: "Callable[[Target, ThreeModeError], Target | None]" = lambda target, error: None,
    ) -> None:
        """`discard` takes a result that came second in a race. `instead` gives the target that takes the place of one
        over gRPC which failed; None where the failure is that of its provider."""
        self._guards = guards
        self._retry = retry
        self.hedge: Hedge[Any] | None = Hedge(hedge.after, discard, clock) if hedge is not None else None
        self._clock = clock
        self._instead = instead
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Fails the calls that wait before a retry, and stops the timer of hedged calls."""
        self._closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_closed())
        if self.hedge is not None:
            self.hedge.close()

    async def _sleep(self, seconds: float) -> None:
        """Waits; ConfigurationError as soon as the connection is closed."""
        if self._closed:
            raise _closed()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, partial(_wake, waiting))
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            timer.cancel()

    async def run(
        self,
        call: CallContext,
        targets: Sequence[Target],
        operation: Operation[T],
        first: ThreeModeError | None = None,
    ) -> T:
        """Tries the targets. `first` is the error of an attempt on the first target that was made already."""
        alive, failures = list(targets), 0
        asked: dict[Target, tuple[float, ThreeModeError]] = {}  # until when a target asked to wait, and its error
        while True:
            failed: list[ThreeModeError] = []
            while len(failed) < len(alive):
                number = len(failed)
                target, last = alive[number], number == len(alive) - 1
                due = call.deadline
                if not last and call.first_content is not None:
                    due = min(due, self._clock.now() + call.first_content)
                try:
                    if first is not None:
                        error, first = first, None
                        raise error
                    if target in asked:
                        await self._wait_until(*asked[target], due)
                    attempt = self._attempt(call, target, due, operation)
                    if self.hedge is None:
                        return await attempt
                    spare = target if last or not call.slow_moves_on else alive[number + 1]
                    won: T = await self.hedge.race(attempt, self.second_attempt, call, target, spare, due, operation)
                    return won
                except ThreeModeError as error:
                    other = self._instead(target, error) if target.grpc else None
                    if other is not None and self._clock.now() < call.deadline:
                        self._switch(call, target, other, error)
                        alive[number] = other
                        continue
                    failed.append(error)
                    if error.retry_after is not None and (target not in asked or asked[target][1] is not error):
                        asked[target] = (self._clock.now() + error.retry_after, error)
                    if not moves_on(error) or self._clock.now() >= call.deadline:
                        raise _verdict(failed) from error.__cause__
                    if not last:
                        self._switch(call, target, alive[number + 1], error)
            failures += 1
            alive, wait = self._next_round(call, alive, failed, failures)
            if not alive:
                raise _verdict(failed)
            call.add_step("retry", self._clock.now(), alive[0], f"in {wait:.2f} s: {_why(failed[-1])}")
            await self._sleep(wait)
            waits.tell_until_now("retry", wait)

    def _switch(self, call: CallContext, failed: Target, target: Target, error: ThreeModeError) -> None:
        """Notes that the next target is tried, at the moment when it is."""
        why = f"{failed}: {_why(error)}"
        call.add_step("switched", self._clock.now(), target, why)
        if logger.isEnabledFor(WARNING):
            event(WARNING, "llm_switched", call.request_id, provider=target.provider, model=target.model, why=why)

    async def _wait_until(self, ready: float, error: ThreeModeError, due: float) -> None:
        """Waits until `ready`, the time that a target named; raises its error where that is after `due`."""
        wait = ready - self._clock.now()
        if wait > 0:
            if ready >= due:
                raise error
            await self._sleep(wait)
            waits.tell_until_now("retry", wait)

    def _next_round(
        self, call: CallContext, alive: Sequence[Target], failed: list[ThreeModeError], failures: int
    ) -> tuple[list[Target], float]:
        """Targets worth another try, the soonest first, and the seconds to wait for the first of them."""
        remaining = call.deadline - self._clock.now()
        ready = []
        for target, error in zip(alive, failed, strict=True):
            if isinstance(error, CircuitOpen):  # its cool-down is longer than a call
                continue
            wait = wait_before_retry(self._retry, failures, error, remaining)
            if wait is not None:
                ready.append((wait, target))
        ready.sort(key=lambda each: each[0])
        return [target for _, target in ready], ready[0][0] if ready else 0.0

    def second_attempt(
        self, call: CallContext, target: Target, spare: Target, due: float, operation: Operation[T]
    ) -> Awaitable[T]:
        """Second attempt of a hedged call."""
        assert self.hedge is not None
        why = f"nothing from {target} in {self.hedge.after:g} s"
        call.add_step("hedged", self._clock.now(), spare, why)
        return self._attempt(call, spare, due, operation)

    async def _attempt(self, call: CallContext, target: Target, due: float, operation: Operation[T]) -> T:
        """Makes one attempt, behind the gate of its target."""
        gate = Gate(target, self._guards.breaker(target), self._guards.limiter(target))
        if not gate.try_enter(call.tokens):
            waited = await gate.enter(call.caller, call.tokens, due - self._clock.now())
            if waited is not None:
                waits.tell_until_now("limiter", waited)
                call.add_step("wait", self._clock.now(), target, f"{waited:.3f} s for the rate limit")
        started = self._clock.now()
        call.add_step("attempt", started, target)
        if call.resumed:
            started, call.resumed = call.began, False
        try:
            result = await operation(target, due)
        except BaseException as error:
            blame(call, gate, error, due - started if due >= call.deadline else None)
            raise
        gate.succeeded(streaming=call.streamed)
        return result


def blame(call: CallContext, gate: Gate, error: BaseException, given: float | None) -> None:
    """Leaves the gate with the error of an attempt of this call, which is counted once for each target. `given` is the
    seconds that the attempt had, where the deadline of the call was its only bound."""
    target = gate.target
    if gate.failed(error, given=given, streamed=call.streamed, again=target in call.blamed):
        call.blamed += (target,)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _closed() -> ConfigurationError:
    return ConfigurationError("this connection is closed", hint="make a new LLMConnection")


def _why(error: ThreeModeError) -> str:
    return f"{type(error).__name__}: {error.message}"[:200]


def _verdict(causes: Sequence[ThreeModeError]) -> ThreeModeError:
    """Error of the call: the only cause, or one error that holds all causes."""
    if len(causes) == 1:
        return causes[0]
    timed_out = isinstance(causes[-1], DeadlineExceeded) and causes[-1].stage == "total"
    reasons = "; ".join(_why(cause) for cause in causes)
    if timed_out:
        last = causes[-1]
        assert isinstance(last, DeadlineExceeded)
        return DeadlineExceeded(
            f"{last.message} (before that: {'; '.join(_why(c) for c in causes[:-1])})", stage="total"
        )
    last_llm = next((cause for cause in reversed(causes) if isinstance(cause, LLMError)), None)
    return AllProvidersFailed(
        f"all {len(causes)} providers failed: {reasons}",
        causes=tuple(causes),
        provider=last_llm.provider if last_llm else None,
        retry_after=min((c.retry_after for c in causes if c.retry_after is not None), default=None),
    )
