"""When to try again, and after how long. The one place that decides it: nothing below retries an answer of a provider."""

import random
from collections.abc import Callable

from three_mode.errors import ThreeModeError
from three_mode.frozen_options import FrozenOptions


class RetryOptions(FrozenOptions, frozen=True, kw_only=True):
    """`attempts` counts the first one. The wait grows from `first` by `factor` up to `most`; `jitter` is the part left to chance."""

    attempts: int = 3
    first: float = 0.5
    factor: float = 2.0
    most: float = 30.0
    jitter: float = 0.5


def backoff(options: RetryOptions, failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after that many failures: exponential, with jitter that only ever shortens it."""
    whole = min(options.most, options.first * options.factor ** (failures - 1))
    return whole * (1.0 - options.jitter * chance())


def wait_before_retry(
    options: RetryOptions,
    failures: int,
    error: ThreeModeError,
    remaining: float,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """How long to wait before the next attempt; None where there is none.

    What the provider asked for (`retry_after`) counts, and is never undercut. A wait that leaves no time for the attempt is
    not begun: the caller gets the error now rather than the same error at the deadline.
    """
    if not error.retryable or failures >= options.attempts:
        return None
    wait = backoff(options, failures, chance)
    if error.retry_after is not None:
        wait = max(error.retry_after, min(wait, options.first))
    return wait if wait < remaining else None
