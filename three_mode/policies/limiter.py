"""Adaptive limiter: reads a provider's limits from headers and 429s, and delays calls before the provider refuses them.

Three limits bound a call: the requests and tokens that remain until their reset, by the last headers; a pause that a
429 asked for (one that names no time asks for none: the retry of its call is what waits); and a number of calls at
once, halved by each 429 and raised by one per round of successes. Calls that must wait queue in a fair queue. A call
that cannot start before its deadline is refused at once, so that another provider can be tried; a call whose turn has
not come by its deadline leaves the queue.
"""

import asyncio

from msgspec import Struct

from three_mode.errors import ConfigurationError, DeadlineExceeded, Overloaded, RateLimit
from three_mode.frozen_options import FrozenOptions
from three_mode.policies.clock import FOREVER, MONOTONIC, Clock
from three_mode.policies.fair_queue import FairQueue
from three_mode.providers.codec import LimitReading

_BURST = 1.0  # seconds in which further 429s are of the same burst, where none names a time


class LimiterOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of the limiter of a provider."""

    at_once: int = 1000  #: most calls in flight, and the number to start with
    waiting: int = 10_000  #: most calls in the queue
    #: seconds without a call after a 429 that names no time to wait; None: no pause, the refused call waits as
    #: `RetryOptions` says, and the others go on with half as many at once
    pause: float | None = None


class _Allowance(Struct, eq=False):
    """Requests or tokens that remain until their reset; None: not known."""

    left: int | None = None
    reset_at: float = 0.0

    def read(self, remaining: int | None, reset: float | None, now: float, in_flight: int) -> None:
        """Takes a reading. It is older than the calls that left since, which are counted already, so that within a
        window it may only lower the rest.
        """
        if remaining is None:
            return
        if self.left is None or now >= self.reset_at or remaining < self.left:
            self.left = remaining
        if reset is not None:
            self.reset_at = now + reset
        elif now >= self.reset_at:
            self.left = None  # a rest without a reset names no time to continue

    def ready_in(self, need: int, now: float) -> float:
        if self.left is None:
            return 0.0
        if now >= self.reset_at:
            self.left = None
            return 0.0
        return 0.0 if self.left >= need else self.reset_at - now

    def take(self, need: int) -> None:
        if self.left is not None:
            self.left = max(0, self.left - need)


class _Waiting(Struct, eq=False):
    tokens: int
    future: asyncio.Future[None]

    @property
    def granted(self) -> bool:
        future = self.future
        return future.done() and not future.cancelled() and future.exception() is None

    def give_up(self) -> None:
        """Fails the wait at the deadline: it became longer than expected."""
        if not self.future.done():
            self.future.set_exception(
                DeadlineExceeded("the rate limit did not let this call go in the time allowed", stage="queue")
            )


class LimiterStanding(Struct, frozen=True, kw_only=True):
    """State of a limiter at one moment."""

    in_flight: int  #: calls in flight
    at_once: int  #: most calls that may be in flight now
    waiting: int  #: calls in the queue
    held_back: int  #: calls so far that had to wait
    wait: float = 0.0  #: seconds until the known limits allow one more call
    requests_left: int | None = None  #: requests until the limit's reset; None: not known
    tokens_left: int | None = None  #: tokens until the limit's reset; None: not known


class AdaptiveLimiter:
    """Limiter of one provider and key.

    `await acquire(...)` before a call, `release(...)` after it, also after a failure.
    """

    def __init__(self, options: LimiterOptions | None = None, clock: Clock = MONOTONIC) -> None:
        self.options = options or LimiterOptions()
        self._clock = clock
        self._in_flight = 0
        self._at_once = float(self.options.at_once)
        self._paused_until = self._burst_until = 0.0
        self._requests = _Allowance()
        self._tokens = _Allowance()
        self._queue: FairQueue[_Waiting] = FairQueue(self.options.waiting)
        self._waker: asyncio.Task[None] | None = None
        self.has_limits = False  # before the first header or 429, only the number at once bounds a call
        self.held_back = 0  # calls that had to wait

    @property
    def in_flight(self) -> int:
        """Calls in flight."""
        return self._in_flight

    @property
    def at_once(self) -> int:
        """Most calls that may be in flight now."""
        return int(self._at_once)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def standing(self) -> LimiterStanding:
        """Its state now."""
        return LimiterStanding(
            in_flight=self._in_flight,
            at_once=self.at_once,
            waiting=self.waiting,
            held_back=self.held_back,
            wait=self.ready_in(),
            requests_left=self._requests.left,
            tokens_left=self._tokens.left,
        )

    @property
    def at_rest(self) -> bool:
        """Whether its state is that of a new limiter."""
        return not (self.has_limits or self._in_flight or self._queue.size) and self._at_once >= self.options.at_once

    def try_acquire(self, tokens: int = 0) -> bool:
        """Starts a call without a task switch, if no call waits and no limit delays it: the common case."""
        if self._queue.size or self._in_flight >= self._at_once:
            return False
        if not self.has_limits:
            self._in_flight += 1
            return True
        if self.ready_in(tokens) > 0:
            return False
        self._take(tokens)
        return True

    async def acquire(self, caller: str = "", tokens: int = 0, within: float = FOREVER) -> float:
        """Starts a call, within `within` seconds; returns the seconds that it was delayed."""
        if self.try_acquire(tokens):
            return 0.0
        wait = self.ready_in(tokens)
        if wait >= within:
            raise RateLimit(f"the rate limit allows this call in {wait:.1f} s, after its deadline", retry_after=wait)
        waiting = _Waiting(tokens, asyncio.get_running_loop().create_future())
        if not self._queue.push(caller, waiting):
            raise Overloaded(
                f"{len(self._queue)} calls wait for the rate limit already",
                hint="send less at once, or raise LimiterOptions(waiting=...)",
            )
        self.held_back += 1
        began = self._clock.now()
        self._start_waiting()
        late = None if within == FOREVER else self._clock.call_later(within, waiting.give_up)
        try:
            await waiting.future
        except BaseException:
            if waiting.granted:
                self.release()  # its turn came at the same moment
            else:
                self._queue.remove(caller, waiting)
            self._start_waiting()
            raise
        finally:
            if late is not None:
                late.cancel()
        return self._clock.now() - began

    def release(self) -> None:
        """Ends a call: the next call in the queue may start."""
        self._in_flight -= 1
        if self._queue.size:
            self._start_waiting()

    def left(self, answered: bool) -> None:
        """Ends a call as `release` does, and as `succeeded` does if it was answered."""
        self._in_flight -= 1
        if self._queue.size:
            self._start_waiting()
        if answered and self._at_once < self.options.at_once:
            self.succeeded()

    def learn(self, reading: LimitReading) -> None:
        """Takes the limits in the headers of a reply."""
        self.has_limits = True
        now = self._clock.now()
        self._requests.read(reading.requests_remaining, reading.requests_reset, now, self._in_flight)
        self._tokens.read(reading.tokens_remaining, reading.tokens_reset, now, self._in_flight)

    def succeeded(self) -> None:
        """Allows one more call at once for each round of successes, up to `LimiterOptions.at_once`."""
        if self._at_once < self.options.at_once:
            self._at_once = min(float(self.options.at_once), self._at_once + 1.0 / max(1.0, self._at_once))

    def refused(self, retry_after: float | None) -> None:
        """Takes a 429: halves the calls at once, and pauses for the time that it or the options name."""
        self.has_limits = True
        now = self._clock.now()
        wait = self.options.pause if retry_after is None else retry_after
        if now >= self._burst_until:  # the first 429 of a burst: the other calls left before it
            self._at_once = max(1.0, min(self._at_once, self._in_flight + 1) / 2)
        self._burst_until = max(self._burst_until, now + (_BURST if wait is None else wait))
        if wait is not None:
            self._paused_until = max(self._paused_until, now + wait)

    def ready_in(self, tokens: int = 0) -> float:
        """Seconds until the known limits allow one more call of `tokens` tokens."""
        now = self._clock.now()
        return max(self._paused_until - now, self._requests.ready_in(1, now), self._tokens.ready_in(tokens, now), 0.0)

    def _take(self, tokens: int) -> None:
        self._in_flight += 1
        if self.has_limits:
            self._requests.take(1)
            self._tokens.take(tokens)

    def _start_waiting(self) -> None:
        """Starts the queued calls that may start; the others wait for a release, or for the time of the limits."""
        while (head := self._queue.head()) is not None:
            if head.future.done():
                self._queue.pop()
            elif self._in_flight >= self._at_once:
                return
            elif (wait := self.ready_in(head.tokens)) > 0:
                if self._waker is None:
                    self._waker = asyncio.get_running_loop().create_task(self._wake_in(wait))
                return
            else:
                self._queue.pop()
                self._take(head.tokens)
                head.future.set_result(None)

    async def _wake_in(self, seconds: float) -> None:
        try:
            await self._clock.sleep(seconds)
        finally:
            self._waker = None
        self._start_waiting()

    def close(self) -> None:
        """Fails all calls in the queue."""
        if self._waker is not None:
            self._waker.cancel()
        while self._queue.size:
            waiting = self._queue.pop()
            if not waiting.future.done():
                waiting.future.set_exception(
                    ConfigurationError("this connection is closed", hint="make a new LLMConnection")
                )
