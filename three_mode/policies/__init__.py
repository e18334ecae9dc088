"""Policies around a call: one policy a file, each usable alone, with an injected clock."""

import warnings
from typing import TYPE_CHECKING

from three_mode.policies.absences import Absences
from three_mode.policies.attempts import Attempts, CallContext
from three_mode.policies.breaker import BreakerOptions, CircuitBreaker
from three_mode.policies.budget import Budget, SpendingLedger
from three_mode.policies.cache import CacheOptions, MemoryCache, ResponseCache, cache_key
from three_mode.policies.clock import Clock, MonotonicClock
from three_mode.policies.coalesce import Coalescer
from three_mode.policies.coalesce_streams import SharedStreams
from three_mode.policies.gate import Gate
from three_mode.policies.hedge import hedged
from three_mode.policies.limiter import AdaptiveLimiter, LimiterOptions
from three_mode.policies.options import CoalesceOptions, FallbackOptions, HedgeOptions, Policies
from three_mode.policies.prices import Price, PriceList, Prices
from three_mode.policies.retry import RetryOptions, backoff, wait_before_retry
from three_mode.policies.routing import Route, Router, Target
from three_mode.policies.tallies import Spent

if TYPE_CHECKING:
    from three_mode.policies.cache_file import FileCache

__all__ = [
    "Absences",
    "AdaptiveLimiter",
    "Attempts",
    "BreakerOptions",
    "Budget",
    "CacheOptions",
    "CallContext",
    "CircuitBreaker",
    "Clock",
    "CoalesceOptions",
    "Coalescer",
    "FallbackOptions",
    "FileCache",
    "Gate",
    "HedgeOptions",
    "LimiterOptions",
    "MemoryCache",
    "MonotonicClock",
    "Policies",
    "Price",
    "PriceList",
    "Prices",
    "ResponseCache",
    "RetryOptions",
    "Route",
    "Router",
    "SharedStreams",
    "SpendingLedger",
    "Spent",
    "Target",
    "backoff",
    "cache_key",
    "hedged",
    "wait_before_retry",
]

# Old names, which are removed with the first release.
_RENAMED = {"Call": "CallContext", "Ledger": "SpendingLedger"}


def __getattr__(name: str) -> object:
    """Loads the file cache when it is used, because it loads SQLite; serves old names with a warning."""
    if name == "FileCache":
        from three_mode.policies.cache_file import FileCache

        return FileCache
    if name in _RENAMED:
        warnings.warn(f"three_mode.policies.{name} is now {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return globals()[_RENAMED[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
