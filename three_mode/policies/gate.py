"""Gate before one target: asks its circuit breaker and its limiter before a call, and reports the outcome to both.

try_enter or enter ──> succeeded(streaming=True) ──> ended      a stream: at its first content, then at its end
                  ├──> succeeded                                a whole reply
                  ├──> failed                                   the error judges the target
                  └──> left                                     the outcome is judged elsewhere, or not at all
"""

from msgspec import Struct

from three_mode.errors import CircuitOpen, DeadlineExceeded, RateLimit
from three_mode.policies.breaker import CircuitBreaker
from three_mode.policies.limiter import AdaptiveLimiter
from three_mode.policies.routing import Target


class Gate(Struct, eq=False):
    """Breaker and limiter of one target, either of which may be missing.

    A call that has entered leaves exactly once: by `succeeded`, `failed` or `left`.
    """

    target: Target
    breaker: CircuitBreaker | None = None
    limiter: AdaptiveLimiter | None = None

    def try_enter(self, tokens: int = 0) -> bool:
        """Enter at once. False, with nothing taken, where the breaker is not closed or the limiter has no place."""
        breaker, limiter = self.breaker, self.limiter
        return (breaker is None or breaker.closed) and (limiter is None or limiter.try_acquire(tokens))

    def try_enter_unhindered(self) -> bool:
        """Enter at once, if no failure and no limit of the target is known, so that no policy can act."""
        breaker, limiter = self.breaker, self.limiter
        if breaker is not None and breaker.failures:
            return False
        return limiter is None or (not limiter.has_limits and limiter.try_acquire())

    async def enter(self, caller: str, tokens: int, within: float) -> float | None:
        """Enter as soon as it is allowed, within `within` seconds. Returns the seconds that the limiter delayed the
        call; None where it did not.

        A half-open breaker lets one call pass, the trial. A call whose turn does not come does not judge its target.
        Raises CircuitOpen; or RateLimit, Overloaded or DeadlineExceeded of the limiter.
        """
        breaker, limiter = self.breaker, self.limiter
        if breaker is not None and not breaker.allow():
            raise CircuitOpen(
                f"{self.target} failed too often just now",
                provider=self.target.provider,
                model=self.target.model,
                retry_after=breaker.opens_in(),
                hint="it is tried again when its cool-down is over",
            )
        if limiter is None or limiter.try_acquire(tokens):
            return None
        try:
            return await limiter.acquire(caller, tokens, within)
        except BaseException:
            if breaker is not None:
                breaker.abandoned()
            raise

    def succeeded(self, *, streaming: bool = False) -> None:
        """Leave after an answer.

        With `streaming`, only first content came: it ends a trial and keeps the failures; see `ended`.
        """
        breaker, limiter = self.breaker, self.limiter
        if limiter is not None:
            limiter.left(True)
        if breaker is not None and breaker.failures:
            (breaker.began if streaming else breaker.success)()

    def failed(
        self, error: BaseException, *, given: float | None = None, streamed: bool = False, again: bool = False
    ) -> bool:
        """Leave with an error; whether it is a failure of the target. A refused request or a cancelled call is none.

        `given` is the seconds that the call had by its caller's own deadline, `streamed` whether these were to the
        first content: a call cut before the target usually answers says nothing of it. `again`: a failure of this call
        was counted already.
        """
        breaker, limiter = self.breaker, self.limiter
        if limiter is not None:
            limiter.release()
            if isinstance(error, RateLimit) and error.status == 429:
                limiter.refused(error.retry_after)
        if breaker is None or not breaker.judges(error, given, streamed):
            if breaker is not None:
                breaker.abandoned()
            return False
        breaker.failure(again=again)
        return True

    def left(self, *, answered: bool = False) -> None:
        """Leave without a judgement of the target. With `answered`, the limiter counts an answer."""
        if self.limiter is not None:
            self.limiter.left(answered)

    def ended(self, error: BaseException | None, *, again: bool = False) -> None:
        """Report the end of a stream that `succeeded`, or the error that broke it off. `again`: as in `failed`.

        The deadline of its caller, which cut it while content came, says nothing of the target.
        """
        breaker = self.breaker
        if breaker is None:
            return
        if error is None:
            breaker.success()
        elif breaker.judges(error, 0.0 if isinstance(error, DeadlineExceeded) else None):
            breaker.failure(again=again)
