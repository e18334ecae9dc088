"""Histogram of durations in bounded memory: each bucket is wider than the one before by the same factor."""

from math import exp, log

LEAST = 1e-6  # seconds: the first bucket ends here
MOST = 86_400.0  # seconds: what takes longer counts as a day
QUARTER, TWENTIETH = log(1.25), log(1.05)  # how much wider a bucket is than the one before


def bucket_of(seconds: float, growth: float) -> int:
    """Number of the bucket that a duration belongs to."""
    return 0 if seconds <= LEAST else 1 + int(log(min(seconds, MOST) / LEAST) / growth)


class Histogram:
    """Counts of durations by bucket. Only buckets that have a duration take memory."""

    __slots__ = ("_counts", "_growth", "total")

    def __init__(self, growth: float = QUARTER) -> None:
        self._counts: dict[int, int] = {}
        self._growth = growth
        self.total = 0

    def add(self, seconds: float) -> None:
        """Add a duration."""
        self.add_to(bucket_of(seconds, self._growth))

    def merge(self, other: "Histogram", times: int = 1) -> None:
        """Add the durations of another histogram, whose buckets are as wide; -1 `times` takes them away."""
        for bucket, count in other._counts.items():
            self.add_to(bucket, times * count)

    def add_to(self, bucket: int, count: int = 1) -> None:
        """Add durations to a bucket, which `bucket_of` has found."""
        self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.total += count

    def quantile(self, share: float) -> float | None:
        """Return the upper end of the quantile's bucket: too much by the growth of a bucket at most. None without a
        sample."""
        if not self.total:
            return None
        wanted, seen, last = share * self.total, 0, 0
        for last in sorted(self._counts):
            seen += self._counts[last]
            if seen >= wanted:
                break
        return LEAST * exp(self._growth * last)
