"""An adaptive limiter: it learns what a provider allows from rate-limit headers and from 429s, and holds calls back before
the provider must refuse them.

Three things bound a call: the requests and tokens that the last headers said remain until their reset; a pause that a 429
asked for; and a number of calls at once, halved by each 429 and raised by one per round of successes. Calls that must wait
stand in a fair queue. One that could not go before its deadline is refused at once, so that another provider can be tried; one
whose turn has not come by then leaves the queue.
"""

import asyncio

from msgspec import Struct

from three_mode.errors import ConfigurationError, DeadlineExceeded, Overloaded, RateLimit
from three_mode.frozen_options import FrozenOptions
from three_mode.policies.clock import FOREVER, MONOTONIC, Clock
from three_mode.policies.fair_queue import FairQueue
from three_mode.providers.codec import LimitReading


class LimiterOptions(FrozenOptions, frozen=True, kw_only=True):
    """`at_once` is where the number of concurrent calls starts and the most it comes back to; `waiting` bounds the queue."""

    at_once: int = 1000
    waiting: int = 10_000
    pause: float = 1.0  #: seconds without a call after a 429 that does not say how long to wait


class _Allowance(Struct, eq=False):
    """What remains of one kind until its reset; None: nobody said."""

    left: int | None = None
    reset_at: float = 0.0

    def read(self, remaining: int | None, reset: float | None, now: float, in_flight: int) -> None:
        """A reading is older than the calls that left since; those are counted already, so that it may only tighten
        what is left while the window lasts."""
        if remaining is None:
            return
        if self.left is None or now >= self.reset_at or remaining < self.left:
            self.left = remaining
        if reset is not None:
            self.reset_at = now + reset
        elif now >= self.reset_at:
            self.left = None  # remaining without a reset says nothing about when to go on

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
        """A wait that was thought short became longer, or calls before it take their time."""
        if not self.future.done():
            self.future.set_exception(
                DeadlineExceeded("the rate limit did not let this call go in the time allowed", stage="queue")
            )


class AdaptiveLimiter:
    """One provider and key. `await acquire(...)` before a call, `release(...)` after it, whatever came of it."""

    def __init__(self, options: LimiterOptions | None = None, clock: Clock = MONOTONIC) -> None:
        self.options = options or LimiterOptions()
        self._clock = clock
        self._in_flight = 0
        self._at_once = float(self.options.at_once)
        self._paused_until = 0.0
        self._requests = _Allowance()
        self._tokens = _Allowance()
        self._queue: FairQueue[_Waiting] = FairQueue(self.options.waiting)
        self._waker: asyncio.Task[None] | None = None
        self.told = False  # until a header or a 429 says something, only the number at once bounds a call
        self.held_back = 0  # calls that had to wait

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return self._in_flight

    @property
    def at_once(self) -> int:
        """How many calls may be in flight now."""
        return int(self._at_once)

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    @property
    def at_rest(self) -> bool:
        """It holds nothing and knows nothing: a new one would be the same."""
        return not (self.told or self._in_flight or self._queue.size) and self._at_once >= self.options.at_once

    def try_acquire(self, tokens: int = 0) -> bool:
        """The common case, without a task switch: nobody waits and nothing holds the call back."""
        if self._queue.size or self._in_flight >= self._at_once:
            return False
        if not self.told:
            self._in_flight += 1
            return True
        if self.ready_in(tokens) > 0:
            return False
        self._take(tokens)
        return True

    async def acquire(self, caller: str = "", tokens: int = 0, within: float = FOREVER) -> float:
        """Returns how long the call was held back, in seconds: `within` at most."""
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
        self._move()
        late = None if within == FOREVER else self._clock.call_later(within, waiting.give_up)
        try:
            await waiting.future
        except BaseException:
            if waiting.granted:
                self.release()  # its turn came in the same moment
            else:
                self._queue.remove(caller, waiting)
            self._move()
            raise
        finally:
            if late is not None:
                late.cancel()
        return self._clock.now() - began

    def release(self) -> None:
        """Ends a call: the next one in the queue may go."""
        self._in_flight -= 1
        if self._queue.size:
            self._move()

    def left(self, well: bool) -> None:
        """`release`, and `succeeded` where it went well."""
        self._in_flight -= 1
        if self._queue.size:
            self._move()
        if well and self._at_once < self.options.at_once:
            self.succeeded()

    def learn(self, reading: LimitReading) -> None:
        """What the headers of a reply said."""
        self.told = True
        now = self._clock.now()
        self._requests.read(reading.requests_remaining, reading.requests_reset, now, self._in_flight)
        self._tokens.read(reading.tokens_remaining, reading.tokens_reset, now, self._in_flight)

    def succeeded(self) -> None:
        """One more at once for each round of successes, up to where it began."""
        if self._at_once < self.options.at_once:
            self._at_once = min(float(self.options.at_once), self._at_once + 1.0 / max(1.0, self._at_once))

    def refused(self, retry_after: float | None) -> None:
        """A 429 came."""
        self.told = True
        now = self._clock.now()
        wait = self.options.pause if retry_after is None else retry_after
        if now >= self._paused_until:  # the first of a burst: the others left before anybody knew
            self._at_once = max(1.0, min(self._at_once, self._in_flight + 1) / 2)
        self._paused_until = max(self._paused_until, now + wait)

    def ready_in(self, tokens: int = 0) -> float:
        """Seconds until the limits allow one more call of that many tokens, as far as is known."""
        now = self._clock.now()
        return max(self._paused_until - now, self._requests.ready_in(1, now), self._tokens.ready_in(tokens, now), 0.0)

    def _take(self, tokens: int) -> None:
        self._in_flight += 1
        if self.told:
            self._requests.take(1)
            self._tokens.take(tokens)

    def _move(self) -> None:
        """Lets go whoever can; the rest waits for a release, or for the time that the limits name."""
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
        self._move()

    def close(self) -> None:
        """Nobody wakes those who wait any more."""
        if self._waker is not None:
            self._waker.cancel()
        while self._queue.size:
            waiting = self._queue.pop()
            if not waiting.future.done():
                waiting.future.set_exception(
                    ConfigurationError("this connection is closed", hint="make a new LLMConnection")
                )
