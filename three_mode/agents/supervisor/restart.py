"""Restart rules: when an agent or host that ended comes back, and when it is given up. Pure: the clock is an argument.

    permanent    always comes back
    transient    comes back after a failure, not after it ended itself
    temporary    never comes back

After `limit` restarts within `within` seconds it is given up. The wait before each restart grows.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from three_mode.errors import ConfigurationError


class Strategy(StrEnum):
    """When an agent or host that ended comes back."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


@dataclass(frozen=True)
class Restart:
    """Restart policy of an agent or host."""

    strategy: Strategy | str = Strategy.TRANSIENT
    """`permanent` (always restart), `transient`, the default (after a failure), or `temporary` (never)."""
    limit: int = 5
    """Restarts within `within` seconds, after which the agent or host is given up."""
    within: float = 30.0
    """Seconds over which restarts are counted."""
    wait: float = 0.0
    """Seconds before the second restart in a row; doubles up to `wait_at_most`. The first restart is at once."""
    wait_at_most: float = 5.0
    """Longest wait before a restart, in seconds."""
    on_error: bool = False
    """Agents only: whether an exception in a handler restarts the agent, besides going to the caller."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "strategy", Strategy(self.strategy))
        except ValueError:
            names = ", ".join(Strategy)
            raise ConfigurationError(f"a restart strategy is one of {names}, not {self.strategy!r}") from None
        for name in ("limit", "within", "wait", "wait_at_most"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or math.isnan(value):
                raise ConfigurationError(f"Restart: {name} is a number, not {value!r}")
        if self.limit < 0 or self.within <= 0 or self.wait < 0:
            raise ConfigurationError("Restart: limit and wait are at least 0, within is above 0")

    @classmethod
    def of(cls, value: "Restart | str") -> "Restart":
        """Return a policy that was given as such, or by its strategy."""
        return value if isinstance(value, Restart) else cls(strategy=value)


@dataclass(frozen=True)
class Again:
    """Decision: restart after `wait` seconds."""

    wait: float


@dataclass(frozen=True)
class GivenUp:
    """Decision: no restart."""

    reason: str
    failed: bool
    """False: it ended as its strategy allows."""


@dataclass(slots=True)
class History:
    """Restarts of one agent or host."""

    restart: Restart
    total: int = 0
    recent: deque[float] = field(default_factory=deque)

    def ended(self, now: float, failed: bool, reason: str) -> Again | GivenUp:
        """Decide what happens after an end at `now`. `failed`: it did not end itself."""
        strategy = self.restart.strategy
        if strategy is Strategy.TEMPORARY:
            return GivenUp(reason or "ended", failed)
        if strategy is Strategy.TRANSIENT and not failed:
            return GivenUp("ended itself", False)
        while self.recent and now - self.recent[0] > self.restart.within:
            self.recent.popleft()
        if len(self.recent) >= self.restart.limit:
            often = f"restarted {len(self.recent)} times in {self.restart.within:g} s"
            return GivenUp(f"{often}; at last: {reason}" if reason else often, True)
        in_a_row = len(self.recent)
        self.recent.append(now)
        self.total += 1
        wait = min(self.restart.wait * 2 ** (in_a_row - 1), self.restart.wait_at_most) if in_a_row else 0.0
        return Again(wait)

    def ended_without_fault(self, reason: str) -> Again | GivenUp:
        """Decide what happens after an end that was another's fault: it does not count towards the limit."""
        if self.restart.strategy is Strategy.TEMPORARY:
            return GivenUp(reason or "ended", True)
        self.total += 1
        return Again(0.0)

    def start_took(self, seconds: float) -> None:
        """Leave the seconds of a failed start out of the count: a slow failure must not make earlier ones forgotten."""
        self.recent = deque(when + seconds for when in self.recent)
