"""All policies around a call, as one frozen value. What is None is off."""

from msgspec import Struct

from three_mode.policies.breaker import BreakerOptions
from three_mode.policies.budget import Budget
from three_mode.policies.cache import CacheOptions
from three_mode.policies.limiter import LimiterOptions
from three_mode.policies.retry import RetryOptions
from three_mode.policies.routing import Route, Target


class FallbackOptions(Struct, frozen=True, kw_only=True):
    """Who answers when the first provider does not: `targets` in order, as `Target(provider, model)`.

    `first_content` is how long each but the last may take to its first content, in seconds; thinking is content.
    """

    targets: tuple[Target, ...] = ()
    first_content: float = 1.5


class HedgeOptions(Struct, frozen=True, kw_only=True):
    """Where nothing has come after that many seconds, the same call goes out once more, to the next target if there is
    one; the first to give content wins, and the other is cancelled at its provider. Both may be billed."""

    after: float = 1.0


class CoalesceOptions(Struct, frozen=True, kw_only=True):
    """Identical whole calls in flight are one. With `streams`, identical streams are one too: `buffer` is how many bytes of what
    came are kept for those who read more slowly or join later; a reader that falls further behind is given up."""

    streams: bool = False
    buffer: int = 1024 * 1024


class Policies(Struct, frozen=True, kw_only=True):
    """`Policies(cache=CacheOptions(), retry=RetryOptions(attempts=5))`; the defaults retry, break and limit, and no more."""

    retry: RetryOptions = RetryOptions()
    breaker: BreakerOptions | None = BreakerOptions()
    limiter: LimiterOptions | None = LimiterOptions()
    fallback: FallbackOptions = FallbackOptions()
    hedge: HedgeOptions | None = None
    cache: CacheOptions | None = None
    coalesce: CoalesceOptions | bool = False
    """True is `CoalesceOptions()`."""
    budgets: tuple[Budget, ...] = ()
    routes: tuple[Route, ...] = ()
