"""The breakers and limiters of a connection: a breaker for each model, a limiter for each provider.

Agents are no provider: none of them knows of the others' limits, so that each has a limiter of its own, as has each local model.
"""

from collections.abc import Callable

from three_mode.dispatcher import HERE
from three_mode.policies import AdaptiveLimiter, CircuitBreaker, Clock, Policies, Target
from three_mode.providers import LimitReading

MOST = 1000


class Gates:
    """Made when first needed. Where there are many, those that know nothing are forgotten: agents come and go."""

    def __init__(self, policies: Policies, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}
        self._limiters: dict[str, AdaptiveLimiter] = {}
        self._most_breakers = self._most_limiters = MOST
        self._providers: set[str] = (
            set()
        )  # whose endpoints tell their limiter what they hear, for as long as they are there
        self._holders: list[Callable[[], None]] = []

    def held_by(self, forget: Callable[[], None]) -> None:
        """`forget` lets go of all guards that somebody holds: called before any are forgotten here."""
        self._holders.append(forget)

    def breaker(self, target: Target) -> CircuitBreaker | None:
        key = (target.provider, target.model)
        found = self._breakers.get(key)
        if found is None and self._policies.breaker is not None:
            if len(self._breakers) >= self._most_breakers:
                self._let_go()
                self._breakers = {kept: each for kept, each in self._breakers.items() if not each.at_rest}
                self._most_breakers = max(MOST, 2 * len(self._breakers))
            found = self._breakers[key] = CircuitBreaker(self._policies.breaker, self._clock)
        return found

    def limiter(self, target: Target) -> AdaptiveLimiter | None:
        here = target.provider in HERE
        return self.limiter_of(f"{target.provider}/{target.model}" if here else target.provider)

    def limiter_of(self, whose: str) -> AdaptiveLimiter | None:
        found = self._limiters.get(whose)
        if found is None and self._policies.limiter is not None:
            if len(self._limiters) >= self._most_limiters:
                self._let_go()
                mine, used = self._limiters, self._providers
                self._limiters = {kept: mine[kept] for kept in mine if kept in used or not mine[kept].at_rest}
                self._most_limiters = max(MOST, 2 * len(self._limiters))
            found = self._limiters[whose] = AdaptiveLimiter(self._policies.limiter, self._clock)
        return found

    def learn(self, provider: str) -> Callable[[LimitReading], None] | None:
        self._providers.add(provider)
        limiter = self.limiter_of(provider)
        return limiter.learn if limiter is not None else None

    def _let_go(self) -> None:
        for forget in self._holders:
            forget()

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
