"""Retry rule: whether to try a failed call again, and after how long.

No layer below retries an answer of a provider.
"""

import random
from collections.abc import Callable

from three_mode.errors import ThreeModeError
from three_mode.frozen_options import FrozenOptions


class RetryOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of retries. The wait grows from `first` by `factor` up to `most`."""

    attempts: int = 3  #: most attempts, the first one included
    first: float = 0.5  #: seconds before the second attempt
    factor: float = 2.0  #: growth of the wait from attempt to attempt
    most: float = 30.0  #: most seconds of a wait
    jitter: float = 0.5  #: random share of the wait, from 0 to 1, which only shortens it


def backoff(options: RetryOptions, failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `failures` failures: exponential, with jitter that only shortens the wait."""
    whole = min(options.most, options.first * options.factor ** (failures - 1))
    return whole * (1.0 - options.jitter * chance())


def wait_before_retry(
    options: RetryOptions,
    failures: int,
    error: ThreeModeError,
    remaining: float,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Seconds to wait before the next attempt; None where there is none.

    The wait is never shorter than the provider's `retry_after`. A wait that leaves no time for the attempt is not
    begun: the caller gets the error now rather than at the deadline.
    """
    if not error.retryable or failures >= options.attempts:
        return None
    wait = backoff(options, failures, chance)
    if error.retry_after is not None:
        wait = max(error.retry_after, min(wait, options.first))
    return wait if wait < remaining else None
