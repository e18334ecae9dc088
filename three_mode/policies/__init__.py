"""Policies around a call: one idea a file, each usable alone, with the clock injected."""

from typing import TYPE_CHECKING

from three_mode.policies.attempts import Attempts, Call
from three_mode.policies.breaker import BreakerOptions, CircuitBreaker
from three_mode.policies.budget import Budget, Ledger
from three_mode.policies.cache import CacheOptions, MemoryCache, ResponseCache, cache_key
from three_mode.policies.clock import Clock, MonotonicClock
from three_mode.policies.coalesce import Coalescer
from three_mode.policies.coalesce_streams import SharedStreams
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
    "AdaptiveLimiter",
    "Attempts",
    "BreakerOptions",
    "Budget",
    "CacheOptions",
    "Call",
    "CircuitBreaker",
    "Clock",
    "CoalesceOptions",
    "Coalescer",
    "FallbackOptions",
    "FileCache",
    "HedgeOptions",
    "Ledger",
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
    "Spent",
    "Target",
    "backoff",
    "cache_key",
    "hedged",
    "wait_before_retry",
]


def __getattr__(name: str) -> object:
    """The file cache brings SQLite, which most programs need not load."""
    if name == "FileCache":
        from three_mode.policies.cache_file import FileCache

        return FileCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
