"""Histogram of durations in a few bytes: each bucket is a quarter wider than the one before."""

from array import array
from collections.abc import Iterable
from math import exp, log

_LEAST = 1e-6  # seconds: the first bucket ends here
_GROWTH = log(1.25)
_BUCKETS = 96  # up to 30 minutes
SAMPLE = 16  # one message in so many is timed


class Histogram:
    """Counts of durations by bucket."""

    __slots__ = ("_counts", "total")

    def __init__(self, counts: Iterable[int] = ()) -> None:
        self._counts = array("I", counts or bytes(4 * _BUCKETS))
        self.total = sum(self._counts)

    def add(self, seconds: float) -> None:
        """Add a duration."""
        bucket = 0 if seconds <= _LEAST else min(_BUCKETS - 1, 1 + int(log(seconds / _LEAST) / _GROWTH))
        self._counts[bucket] += 1
        self.total += 1

    def merge(self, other: "Histogram") -> None:
        """Add the durations of another histogram."""
        for bucket, count in enumerate(other._counts):
            self._counts[bucket] += count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """Return the upper end of the quantile's bucket, at most a quarter too much; None without a sample."""
        if not self.total:
            return None
        wanted, seen = share * self.total, 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and count:
                return _LEAST * exp(_GROWTH * bucket)
        return _LEAST * exp(_GROWTH * _BUCKETS)
