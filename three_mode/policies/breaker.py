"""Circuit breaker: after some failures in a row, calls to a target are refused for a while; then one call tries it.

closed ──(failures in a row)──> open ──(cool-down over)──> half-open ──(success)──> closed
                                 ^                            └──(failure)──> open

A failure is an answer that says so (5xx, 503, 529, no valid reply), a connection that fails or breaks, and silence. A
refused request is none: 400, 401, 402, 403, 404 and 429 say that the target answers. Silence is one where the call had
more time than the target usually takes: a shorter deadline is its caller's affair. Retries of a call are one failure.
"""

from collections.abc import Callable
from typing import Literal

from three_mode.errors import (
    BadReply,
    ConnectionFailed,
    DeadlineExceeded,
    ProviderOverloaded,
    SchemaMismatch,
    ServerError,
    StreamInterrupted,
)
from three_mode.frozen_options import FrozenOptions
from three_mode.policies.clock import MONOTONIC, Clock

State = Literal["closed", "open", "half-open"]
_TRIPS = (ServerError, ProviderOverloaded, ConnectionFailed, BadReply, DeadlineExceeded, StreamInterrupted)
_OWN_BOUNDS = frozenset(("connect", "write", "idle"))  # stages with a time of the transport's own, not of a caller
_SHORTEST = 1.0  # seconds: a shorter deadline of a caller says nothing, however fast the target is
Changed = Callable[[State], None]  # gets the state before
# Seconds that an answer usually takes, or the first content where the argument is True; None: nothing is known.
Usual = Callable[[bool], float | None]


def _unknown(streamed: bool) -> float | None:
    return None


class BreakerOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of a circuit breaker."""

    failures: int = 5  #: failures in a row that open the breaker
    cool_down: float = 60.0  #: seconds that it stays open before one call may try the target
    #: seconds without an answer that are a failure of a target that never answered. Of one that did, a failure is a
    #: call that had more time than 9 of 10 answers take, and at least a second (or `patience`, where that is less)
    patience: float = 10.0


def trips(error: BaseException) -> bool:
    """Whether an error may be a failure of the target. A bad key, a bad request or a rate limit is none, and neither is
    an answer that does not fit the schema of its request."""
    return isinstance(error, _TRIPS) and not isinstance(error, SchemaMismatch)


class CircuitBreaker:
    """Breaker of one target.

    Call `allow()` before a call, then exactly one of `success`, `failure` or `abandoned`. A stream may call `began`
    before that.
    """

    __slots__ = ("_changed", "_clock", "_opened_at", "_options", "_trial", "_usual", "closed", "failures")

    def __init__(
        self,
        options: BreakerOptions | None = None,
        clock: Clock = MONOTONIC,
        usual: Usual = _unknown,
        changed: Changed | None = None,
    ) -> None:
        """`usual` gives the seconds that answers of the target usually take. `changed` is called when the breaker has
        opened or closed; that its cool-down is over, nobody notices."""
        self._options = options or BreakerOptions()
        self._clock = clock
        self._usual = usual
        self._changed = changed
        self.failures = 0
        self.closed = True
        self._opened_at: float | None = None
        self._trial = False

    @property
    def state(self) -> State:
        """State: "closed", calls pass; "open", none do; "half-open", one may try."""
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
        """Whether its state is that of a new breaker."""
        return self.closed and not self.failures

    def allow(self) -> bool:
        """Whether a call may pass. A half-open breaker lets one call pass, the trial."""
        if self._opened_at is None:
            return True
        if self._trial or self.opens_in() > 0:
            return False
        self._trial = True
        return True

    def success(self) -> None:
        """Ends a successful call: the breaker closes."""
        self.failures = 0
        self.began()

    def began(self) -> None:
        """Notes the first content of a stream: other calls may pass, because a stream can last for minutes.

        Earlier failures still count, so that one more failure opens the breaker again.
        """
        was = self.state
        self.closed = True
        self._opened_at = None
        self._trial = False
        if self._changed is not None and was != "closed":
            self._changed(was)

    def judges(self, error: BaseException, given: float | None = None, streamed: bool = False) -> bool:
        """Whether an error is a failure of the target.

        `given` is the seconds that the call had by its caller's own deadline; None where that did not end it.
        `streamed`: whether these were to the first content.
        """
        if not isinstance(error, DeadlineExceeded) or given is None or error.stage in _OWN_BOUNDS:
            return trips(error)
        usual, patience = self._usual(streamed), self._options.patience
        return given >= (patience if usual is None else max(usual, min(_SHORTEST, patience)))

    def failure(self, *, again: bool = False) -> None:
        """Ends a failed call: enough failures in a row, or a failed trial, open the breaker.

        `again`: a failure of this call was counted already, so that this one can only end a trial.
        """
        if self._trial or not again:
            self.failures += 1
        opens, was = self._trial or self.failures >= self._options.failures, self.state
        if opens:
            self.closed = False
            self._opened_at = self._clock.now()
        self._trial = False
        if opens and self._changed is not None and was != "open":
            self._changed(was)

    def abandoned(self) -> None:
        """Ends a call that does not judge the target (cancelled, a bad request): another trial is allowed."""
        self._trial = False
