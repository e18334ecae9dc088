"""The loop around a call: which target next, when again, and when to give up. It owns all retries, and there is one deadline.

For each round, each target in order: its gate (breaker and limiter) must let the call pass before the deadline, and then the
operation runs. A failure moves on to the next target at once; only when all have failed does the loop wait, once, for the
target that may answer soonest. All but the last have `first_content` seconds to their first content.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from three_mode.errors import (
    AllProvidersFailed,
    CircuitOpen,
    ContentFilter,
    DeadlineExceeded,
    InvalidRequest,
    LLMError,
    ModeConflict,
    ThreeModeError,
)
from three_mode.messages import Step
from three_mode.policies.breaker import CircuitBreaker
from three_mode.policies.clock import MONOTONIC, Clock
from three_mode.policies.gate import Gate
from three_mode.policies.hedge import Hedge
from three_mode.policies.limiter import AdaptiveLimiter
from three_mode.policies.options import HedgeOptions
from three_mode.policies.retry import RetryOptions, wait_before_retry
from three_mode.policies.routing import Target

T = TypeVar("T")
# The same request, or the same words, would be refused elsewhere too.
_FINAL = (ModeConflict, ContentFilter)


class CallContext(Struct, eq=False):
    """One call of the user's, as the policies see it: its times, its caller and size. `steps` is what happened to it, and ends up
    in the reply."""

    deadline: float
    began: float
    caller: str = ""
    tokens: int = 0
    first_content: float | None = None
    streamed: bool = False
    """What an attempt gives is only the beginning: whoever reads the rest tells the breaker how it ended."""
    steps: list[Step] = []

    def add_step(self, kind: str, now: float, target: Target | None = None, why: str | None = None) -> None:
        """Notes something that happened to the call; `now` is in the clock's time."""
        self.steps.append(
            Step(
                kind,  # type: ignore[arg-type]
                now - self.began,
                target.provider if target else None,
                target.model if target else None,
                why,
            )
        )


Operation = Callable[[Target, float], Awaitable[T]]  # the target, and when its first content is due (loop time)


class Guards(Protocol):
    """The breaker and the limiter of each target; None where it has none."""

    def breaker(self, target: Target) -> CircuitBreaker | None: ...
    def limiter(self, target: Target) -> AdaptiveLimiter | None: ...


def moves_on(error: BaseException) -> bool:
    """Whether another target may do what this one did not."""
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
    ) -> None:
        """`discard` is for a result that came second in a race."""
        self._guards = guards
        self._retry = retry
        self.hedge: Hedge[Any] | None = Hedge(hedge.after, discard, clock) if hedge is not None else None
        self._clock = clock

    def close(self) -> None:
        """Stops the timer of hedged calls."""
        if self.hedge is not None:
            self.hedge.close()

    async def run(
        self,
        call: CallContext,
        targets: Sequence[Target],
        operation: Operation[T],
        first: ThreeModeError | None = None,
    ) -> T:
        """`first` is how an attempt on the first target ended, where one was made already."""
        alive, failures = targets, 0
        asked: dict[Target, tuple[float, ThreeModeError]] = {}  # who asked us to wait, until when, and how
        while True:
            failed: list[ThreeModeError] = []
            for number, target in enumerate(alive):
                last = number == len(alive) - 1
                due = call.deadline
                if not last and call.first_content is not None:
                    due = min(due, self._clock.now() + call.first_content)
                try:
                    if first is not None:
                        made, first = first, None
                        raise made
                    if target in asked:
                        await self._until(*asked[target], due)
                    attempt = self._attempt(call, target, due, operation)
                    if self.hedge is None:
                        return await attempt
                    spare = target if last else alive[number + 1]
                    won: T = await self.hedge.race(attempt, self.second_attempt, call, target, spare, due, operation)
                    return won
                except ThreeModeError as error:
                    failed.append(error)
                    if error.retry_after is not None and (target not in asked or asked[target][1] is not error):
                        asked[target] = (self._clock.now() + error.retry_after, error)
                    if not moves_on(error) or self._clock.now() >= call.deadline:
                        raise _verdict(failed) from error.__cause__
                    if not last:
                        call.add_step("switched", self._clock.now(), alive[number + 1], f"{target}: {_why(error)}")
            failures += 1
            alive, wait = self._again(call, alive, failed, failures)
            if not alive:
                raise _verdict(failed)
            call.add_step("retry", self._clock.now(), alive[0], f"in {wait:.2f} s: {_why(failed[-1])}")
            await self._clock.sleep(wait)

    async def _until(self, ready: float, error: ThreeModeError, due: float) -> None:
        """Waits until a target is ready that said when; where that is too late it stays at what it said."""
        wait = ready - self._clock.now()
        if wait > 0:
            if ready >= due:
                raise error
            await self._clock.sleep(wait)

    def _again(
        self, call: CallContext, alive: Sequence[Target], failed: list[ThreeModeError], failures: int
    ) -> tuple[list[Target], float]:
        """Those worth another try, the soonest first, and how long to wait for it."""
        remaining = call.deadline - self._clock.now()
        waits = []
        for target, error in zip(alive, failed, strict=True):
            if isinstance(error, CircuitOpen):  # its cool-down is longer than anybody waits for an answer
                continue
            wait = wait_before_retry(self._retry, failures, error, remaining)
            if wait is not None:
                waits.append((wait, target))
        waits.sort(key=lambda each: each[0])
        return [target for _, target in waits], waits[0][0] if waits else 0.0

    def second_attempt(
        self, call: CallContext, target: Target, spare: Target, due: float, operation: Operation[T]
    ) -> Awaitable[T]:
        """The attempt that a hedge makes."""
        assert self.hedge is not None
        why = f"nothing from {target} in {self.hedge.after:g} s"
        call.add_step("hedged", self._clock.now(), spare, why)
        return self._attempt(call, spare, due, operation)

    async def _attempt(self, call: CallContext, target: Target, due: float, operation: Operation[T]) -> T:
        """One attempt, behind the gate of its target."""
        gate = Gate(target, self._guards.breaker(target), self._guards.limiter(target))
        if not gate.try_enter(call.tokens):
            waited = await gate.enter(call.caller, call.tokens, due - self._clock.now())
            if waited is not None:
                call.add_step("wait", self._clock.now(), target, f"{waited:.3f} s for the rate limit")
        call.add_step("attempt", self._clock.now(), target)
        try:
            result = await operation(target, due)
        except BaseException as error:
            gate.failed(error)
            raise
        gate.succeeded(streaming=call.streamed)
        return result


def _why(error: ThreeModeError) -> str:
    return f"{type(error).__name__}: {error.message}"[:200]


def _verdict(causes: Sequence[ThreeModeError]) -> ThreeModeError:
    """One failure is itself; several are one error with all of them."""
    if len(causes) == 1:
        return causes[0]
    timed_out = isinstance(causes[-1], DeadlineExceeded) and causes[-1].stage == "total"
    told = "; ".join(_why(cause) for cause in causes)
    if timed_out:
        last = causes[-1]
        assert isinstance(last, DeadlineExceeded)
        return DeadlineExceeded(
            f"{last.message} (before that: {'; '.join(_why(c) for c in causes[:-1])})", stage="total"
        )
    last_llm = next((cause for cause in reversed(causes) if isinstance(cause, LLMError)), None)
    return AllProvidersFailed(
        f"all {len(causes)} providers failed: {told}",
        causes=tuple(causes),
        provider=last_llm.provider if last_llm else None,
        retry_after=min((c.retry_after for c in causes if c.retry_after is not None), default=None),
    )
