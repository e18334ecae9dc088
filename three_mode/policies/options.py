"""Options of all policies around a call, as one frozen value. None switches a policy off."""

from typing import TYPE_CHECKING, Literal

from msgspec.structs import force_setattr

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from three_mode.policies.breaker import BreakerOptions
from three_mode.policies.budget import Budget
from three_mode.policies.cache import CacheOptions
from three_mode.policies.limiter import LimiterOptions
from three_mode.policies.retry import RetryOptions
from three_mode.policies.routing import Route, Target


class FallbackOptions(FrozenOptions, frozen=True, kw_only=True):
    """Fallback: other targets for calls whose first target fails or is slow."""

    targets: tuple[Target, ...] = ()  #: targets to try then, in order
    #: seconds to first content for each of `targets` but the last, and for the first; thinking counts
    first_content: float = 1.5
    #: whether the other available providers answer, each with its default model, where the connection's own fails;
    #: being slow is no failure then. None: where no provider is named and there are no `targets`
    detected: bool | None = None


if TYPE_CHECKING:
    Fallback = FallbackOptions
else:
    Fallback = FallbackOptions | Literal["detected"] | None


class HedgeOptions(FrozenOptions, frozen=True, kw_only=True):
    """Hedging: sends a slow call a second time, to the next target if there is one.

    The first call with content wins, and the other is cancelled at its provider. Both may be billed.
    """

    after: float = 1.0  #: seconds without any content before the second call


class CoalesceOptions(FrozenOptions, frozen=True, kw_only=True):
    """Coalescing: makes identical calls in flight one call at the provider."""

    streams: bool = False  #: whether identical streams are one too, each reader at its own pace
    buffer: int = 1024 * 1024  #: bytes of a stream kept for slow and late readers; a slower reader fails


class Policies(FrozenOptions, frozen=True, kw_only=True):
    """All policies around a call: `Policies(cache=CacheOptions(), retry=RetryOptions(attempts=5))`.

    The defaults retry, break circuits and limit, and do no more. None switches a policy off.
    """

    retry: RetryOptions = RetryOptions()  #: how often a failed call is tried again, and when
    #: when calls to a failing target are refused
    breaker: BreakerOptions | None = BreakerOptions()
    #: most calls in flight; adapts to the limits of the provider
    limiter: LimiterOptions | None = LimiterOptions()
    #: targets for calls whose first target fails; "detected" is `FallbackOptions(detected=True)`, None switches all off
    fallback: Fallback = FallbackOptions()
    hedge: HedgeOptions | None = None  #: a second call where the first is slow
    cache: CacheOptions | None = None  #: replies kept for identical calls
    coalesce: CoalesceOptions | bool = False  #: identical calls in flight as one; True is `CoalesceOptions()`
    budgets: tuple[Budget, ...] = ()  #: most US dollars that calls may cost
    routes: tuple[Route, ...] = ()  #: names that stand for several targets; the `model` of a request may be one

    if TYPE_CHECKING:
        # Policies hold the options; their constructor also takes the words for them.
        def __init__(
            self,
            *,
            retry: RetryOptions = ...,
            breaker: BreakerOptions | None = ...,
            limiter: LimiterOptions | None = ...,
            fallback: FallbackOptions | Literal["detected"] | None = ...,
            hedge: HedgeOptions | None = ...,
            cache: CacheOptions | None = ...,
            coalesce: CoalesceOptions | bool = ...,
            budgets: tuple[Budget, ...] = ...,
            routes: tuple[Route, ...] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        given: object = self.fallback
        if not isinstance(given, FallbackOptions):
            if given not in ("detected", None):
                raise ConfigurationError(f"fallback is FallbackOptions, 'detected' or None, not {given!r}")
            force_setattr(self, "fallback", FallbackOptions(detected=given == "detected"))
