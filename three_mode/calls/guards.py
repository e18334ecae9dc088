"""The breakers and limiters of a connection: a breaker for each model, a limiter for each provider.

Agents are no provider: none of them knows of the others' limits, so that each has a limiter of its own, as has each local model.
"""

from collections.abc import Callable

from three_mode.dispatcher import HERE
from three_mode.policies import AdaptiveLimiter, CircuitBreaker, Clock, Policies, Target
from three_mode.providers import LimitReading


class Guarding:
    """Made when first needed; kept for the life of the connection."""

    def __init__(self, policies: Policies, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._limiters: dict[str, AdaptiveLimiter] = {}

    def breaker(self, target: Target) -> CircuitBreaker | None:
        key = (target.provider, target.model)
        found = self._breakers.get(key)
        if found is None and self._policies.breaker is not None:
            found = self._breakers[key] = CircuitBreaker(self._policies.breaker, self._clock)
        return found

    def limiter(self, target: Target) -> AdaptiveLimiter | None:
        here = target.provider in HERE
        return self.limiter_of(f"{target.provider}/{target.model}" if here else target.provider)

    def limiter_of(self, whose: str) -> AdaptiveLimiter | None:
        found = self._limiters.get(whose)
        if found is None and self._policies.limiter is not None:
            found = self._limiters[whose] = AdaptiveLimiter(self._policies.limiter, self._clock)
        return found

    def learn(self, provider: str) -> Callable[[LimitReading], None] | None:
        limiter = self.limiter_of(provider)
        return limiter.learn if limiter is not None else None

    def states(self) -> dict[str, str]:
        """Each breaker that is not closed."""
        return {
            f"{provider}/{model}": breaker.state
            for (provider, model), breaker in self._breakers.items()
            if breaker.state != "closed"
        }

    def close(self) -> None:
        for limiter in self._limiters.values():
            limiter.close()
