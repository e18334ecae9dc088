"""A circuit breaker: after some failures in a row a target is left alone for a while, then tried once.

closed ──(failures in a row)──> open ──(cool-down over)──> half-open ──(success)──> closed
                                 ^                            └──(failure)──> open
"""

from typing import Literal

from three_mode.errors import (
    BadReply,
    ConnectionFailed,
    DeadlineExceeded,
    ProviderOverloaded,
    ServerError,
    StreamInterrupted,
)
from three_mode.frozen_options import FrozenOptions
from three_mode.policies.clock import MONOTONIC, Clock

State = Literal["closed", "open", "half-open"]
_TRIPS = (ServerError, ProviderOverloaded, ConnectionFailed, BadReply, DeadlineExceeded, StreamInterrupted)


class BreakerOptions(FrozenOptions, frozen=True, kw_only=True):
    """How many failures in a row open it, and for how many seconds."""

    failures: int = 5  #: failures in a row that open the breaker
    cool_down: float = 60.0  #: seconds that it stays open before one call may try


def trips(error: BaseException) -> bool:
    """Whether an error says that the target is unwell. A bad key, a bad request or a rate limit says nothing of the kind."""
    return isinstance(error, _TRIPS)


class CircuitBreaker:
    """One target's breaker. `allow()` before a call, then exactly one of `success`, `failure` or `abandoned`; a stream may say
    `began` before that.
    """

    __slots__ = ("_clock", "_opened_at", "_options", "_trial", "closed", "failures")

    def __init__(self, options: BreakerOptions | None = None, clock: Clock = MONOTONIC) -> None:
        self._options = options or BreakerOptions()
        self._clock = clock
        self.failures = 0
        self.closed = True
        self._opened_at: float | None = None
        self._trial = False

    @property
    def state(self) -> State:
        """ "closed": calls pass; "open": none do; "half-open": one may try."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if self.opens_in() <= 0 else "open"

    def opens_in(self) -> float:
        """Seconds until a trial is allowed; 0 where calls pass."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._options.cool_down - self._clock.now())

    @property
    def at_rest(self) -> bool:
        """It knows nothing: a new one would be the same."""
        return self.closed and not self.failures

    def allow(self) -> bool:
        """Whether a call may go. Half-open, one call may: the trial."""
        if self._opened_at is None:
            return True
        if self._trial or self.opens_in() > 0:
            return False
        self._trial = True
        return True

    def success(self) -> None:
        """Ends a call that went well: the breaker closes."""
        self.failures = 0
        self.began()

    def began(self) -> None:
        """It answers, and how that ends is still to be seen. Others may go, because a trial can last for minutes; what failed before
        is not forgotten, so that one more failure opens it again."""
        self.closed = True
        self._opened_at = None
        self._trial = False

    def failure(self) -> None:
        """Ends a call that failed: enough of them in a row, or one trial, open the breaker."""
        self.failures += 1
        if self._trial or self.failures >= self._options.failures:
            self.closed = False
            self._opened_at = self._clock.now()
        self._trial = False

    def abandoned(self) -> None:
        """The call ended without saying anything about the target (cancelled, a bad request): a trial may be tried again."""
        self._trial = False
