"""When something that ended comes back, and when it is given up. Pure: the clock is an argument.

    permanent    always
    transient    after a failure; not when it ended itself
    temporary    never

Whatever comes back more than `limit` times within `within` seconds is given up. The wait before each return grows.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from three_mode.errors import ConfigurationError


class Strategy(StrEnum):
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


@dataclass(frozen=True)
class Restart:
    """How an agent, or a host, comes back."""

    strategy: Strategy | str = Strategy.TRANSIENT
    limit: int = 5
    within: float = 30.0
    wait: float = 0.0
    """Seconds before the second return in a row; doubles up to `wait_at_most`. The first is at once."""
    wait_at_most: float = 5.0
    on_error: bool = False
    """Agents only: whether a handler that raises makes the agent start afresh, or just answers its caller."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "strategy", Strategy(self.strategy))
        except ValueError:
            names = ", ".join(Strategy)
            raise ConfigurationError(f"a restart strategy is one of {names}, not {self.strategy!r}") from None
        if self.limit < 0 or self.within <= 0 or self.wait < 0:
            raise ConfigurationError("Restart: limit and wait are at least 0, within is above 0")

    @classmethod
    def of(cls, value: "Restart | str") -> "Restart":
        return value if isinstance(value, Restart) else cls(strategy=value)


@dataclass(frozen=True)
class Again:
    """It comes back after `wait` seconds."""

    wait: float


@dataclass(frozen=True)
class GivenUp:
    """It stays away."""

    reason: str
    failed: bool
    """False: it ended as its strategy allows."""


@dataclass(slots=True)
class History:
    """The returns of one agent or host."""

    restart: Restart
    total: int = 0
    recent: deque[float] = field(default_factory=deque)

    def ended(self, now: float, failed: bool, reason: str) -> Again | GivenUp:
        """It ended at `now`: what is to be done."""
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

    def start_took(self, seconds: float) -> None:
        """A start failed after that time. The time does not count, or a slow failure would make those before it forgotten."""
        self.recent = deque(when + seconds for when in self.recent)
