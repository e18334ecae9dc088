"""Gates of a connection: a breaker for each model, a limiter for each provider.

Agents are no provider: none of them knows of the others' limits, so that each has a limiter of its own, as has each
local model.
"""

from collections.abc import Callable
from functools import partial

from three_mode.dispatcher import HERE
from three_mode.observe.metrics import Metrics
from three_mode.policies import AdaptiveLimiter, CircuitBreaker, Clock, Gate, Policies, Target
from three_mode.policies.breaker import State
from three_mode.policies.clock import Timer
from three_mode.policies.limiter import LimiterStanding
from three_mode.providers import LimitReading

MOST = 1000
# Gets a target, and the states of its breaker before and now.
StatusListener = Callable[[Target, State, State], None]


class Gates:
    """Breakers and limiters, made when first needed. Where there are many, those that know nothing are forgotten:
    agents come and go."""

    def __init__(
        self,
        policies: Policies,
        clock: Clock,
        metrics: Metrics | None = None,
        changed: StatusListener | None = None,
    ) -> None:
        """`metrics` says how long targets usually take: a call that had less time says nothing of them. `changed` hears
        of breakers that open, let a call try their target, or close."""
        self._policies = policies
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._breakers: dict[tuple[str, str, bool], CircuitBreaker] = {}  # by provider, model and whether over gRPC
        self._limiters: dict[str, AdaptiveLimiter] = {}
        self._most_breakers = self._most_limiters = MOST
        # Providers whose endpoints tell their limiter what they hear, for as long as they are there.
        self._providers: set[str] = set()
        self._on_forget: list[Callable[[], None]] = []
        self._changed = changed
        self._trials: dict[tuple[str, str, bool], Timer] = {}  # when the cool-downs of open breakers are over

    def on_forget(self, forget: Callable[[], None]) -> None:
        """Call `forget` before any breaker or limiter is forgotten: it lets go of all gates that the caller holds."""
        self._on_forget.append(forget)

    def gate(self, target: Target) -> Gate:
        """The gate of one target. A holder that keeps it registers with `on_forget`."""
        return Gate(target, self.breaker(target), self.limiter(target))

    def breaker(self, target: Target) -> CircuitBreaker | None:
        """The breaker of a target; None where the policies have none."""
        key = (target.provider, target.model, target.grpc)
        found = self._breakers.get(key)
        if found is None and self._policies.breaker is not None:
            if len(self._breakers) >= self._most_breakers:
                self._forget()
                self._breakers = {kept: each for kept, each in self._breakers.items() if not each.at_rest}
                self._most_breakers = max(MOST, 2 * len(self._breakers))
            usual = partial(self._metrics.usual, target.provider, target.model)
            changed = partial(self._breaker_changed, target) if self._changed is not None else None
            found = self._breakers[key] = CircuitBreaker(self._policies.breaker, self._clock, usual, changed)
        return found

    def limiter(self, target: Target) -> AdaptiveLimiter | None:
        """The limiter of a target: its provider's, or its own where it is on this machine; None where the policies have
        none."""
        here = target.provider in HERE
        return self.limiter_of(f"{target.provider}/{target.model}" if here else target.provider)

    def limiter_of(self, provider: str) -> AdaptiveLimiter | None:
        """The limiter of a provider, or of `agent/NAME` or `local/NAME`."""
        found = self._limiters.get(provider)
        if found is None and self._policies.limiter is not None:
            if len(self._limiters) >= self._most_limiters:
                self._forget()
                mine, used = self._limiters, self._providers
                self._limiters = {kept: mine[kept] for kept in mine if kept in used or not mine[kept].at_rest}
                self._most_limiters = max(MOST, 2 * len(self._limiters))
            found = self._limiters[provider] = AdaptiveLimiter(self._policies.limiter, self._clock)
        return found

    def limit_listener(self, provider: str) -> Callable[[LimitReading], None] | None:
        """A function that takes the limits that an endpoint reads. The limiter of its provider is never forgotten."""
        self._providers.add(provider)
        limiter = self.limiter_of(provider)
        return limiter.learn if limiter is not None else None

    def _breaker_changed(self, target: Target, was: State) -> None:
        """A breaker opened or closed."""
        key = (target.provider, target.model, target.grpc)
        breaker = self._breakers[key]
        timer = self._trials.pop(key, None)
        if timer is not None:
            timer.cancel()
        if breaker.state == "open":
            self._trials[key] = self._clock.call_later(breaker.opens_in(), partial(self._cooled_down, target))
        if self._changed is not None:
            self._changed(target, was, breaker.state)

    def _cooled_down(self, target: Target) -> None:
        """The cool-down of a breaker is over; or not yet, where one more call failed meanwhile."""
        key = (target.provider, target.model, target.grpc)
        self._trials.pop(key, None)
        breaker = self._breakers.get(key)
        if breaker is None or breaker.closed:
            return
        left = breaker.opens_in()
        if left > 0:
            self._trials[key] = self._clock.call_later(left, partial(self._cooled_down, target))
        elif self._changed is not None:
            self._changed(target, "open", "half-open")

    def _forget(self) -> None:
        for forget in self._on_forget:
            forget()

    def states(self) -> dict[str, str]:
        """The state of each breaker that is not closed."""
        return {
            str(Target(provider, model, grpc=grpc)): breaker.state
            for (provider, model, grpc), breaker in self._breakers.items()
            if breaker.state != "closed"
        }

    def cooling(self) -> dict[str, float]:
        """The seconds until each open breaker lets a call try its target."""
        return {
            str(Target(provider, model, grpc=grpc)): breaker.opens_in()
            for (provider, model, grpc), breaker in self._breakers.items()
            if breaker.state == "open"
        }

    def standings(self) -> dict[str, LimiterStanding]:
        """The state of each limiter that had something to limit, by its provider, or `agent/NAME` or `local/NAME`."""
        return {
            name: limiter.standing()
            for name, limiter in self._limiters.items()
            if not limiter.at_rest or limiter.held_back
        }

    def close(self) -> None:
        """Refuse the calls that wait for a limiter."""
        for timer in self._trials.values():
            timer.cancel()
        self._trials.clear()
        for limiter in self._limiters.values():
            limiter.close()
