"""All policies around a call, as one frozen value. What is None is off."""

from three_mode.frozen_options import FrozenOptions
from three_mode.policies.breaker import BreakerOptions
from three_mode.policies.budget import Budget
from three_mode.policies.cache import CacheOptions
from three_mode.policies.limiter import LimiterOptions
from three_mode.policies.retry import RetryOptions
from three_mode.policies.routing import Route, Target


class FallbackOptions(FrozenOptions, frozen=True, kw_only=True):
    """Who answers when the first provider does not."""

    targets: tuple[Target, ...] = ()  #: who is asked then, in order
    first_content: float = 1.5  #: seconds that each but the last may take to its first content; thinking is content


class HedgeOptions(FrozenOptions, frozen=True, kw_only=True):
    """Sends a slow call once more, to the next target if there is one.

    The first to give content wins, and the other is cancelled at its provider. Both may be billed.
    """

    after: float = 1.0  #: seconds without any content before the second call


class CoalesceOptions(FrozenOptions, frozen=True, kw_only=True):
    """Makes identical calls in flight one call at the provider."""

    streams: bool = False  #: whether identical streams are one too, each reader at its own pace
    buffer: int = 1024 * 1024  #: bytes of a stream kept for slow and late readers; a slower one is given up


class Policies(FrozenOptions, frozen=True, kw_only=True):
    """All policies around a call: `Policies(cache=CacheOptions(), retry=RetryOptions(attempts=5))`.

    The defaults retry, break circuits and limit, and do no more. None switches a policy off.
    """

    retry: RetryOptions = RetryOptions()  #: how often a failed call is tried again, and when
    #: when a target that keeps failing is left alone
    breaker: BreakerOptions | None = BreakerOptions()
    #: how many calls may be in flight; adapts to what the provider takes
    limiter: LimiterOptions | None = LimiterOptions()
    fallback: FallbackOptions = FallbackOptions()  #: who answers when the first provider does not
    hedge: HedgeOptions | None = None  #: a second call where the first is slow
    cache: CacheOptions | None = None  #: replies kept for identical calls
    coalesce: CoalesceOptions | bool = False  #: identical calls in flight as one; True is `CoalesceOptions()`
    budgets: tuple[Budget, ...] = ()  #: most US dollars that calls may cost
    routes: tuple[Route, ...] = ()  #: names that stand for several targets; the `model` of a request may be one
