"""Step cost: seconds of a pass over the weights by its number of tokens, from measured steps. Pure.

A machine is slower for a while when others use it, for passes of all sizes alike. So a size has a relative cost, which
changes slowly, and all sizes have one speed, which changes fast. Between two sizes that were measured a token more
costs what it does on average there. Beyond the largest one it is hoped to cost a little less than before it: to try
a larger size is the only way to know.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

EXACT = 24  # sizes up to here are kept one by one, larger ones in groups of about a sixteenth
SPEED, SIZE = 0.2, 0.04  # weight of a new measurement for the speed, and for the size
TRUSTED = 2  # measurements of a size before it counts
STALE = 400  # measurements after which a size other than those of late counts as not measured
HOPED_FIRST, HOPED = 0.5, 0.8  # cost of a token more beyond the only size, or the largest, by that of one before
REACH = 4  # times the largest size up to which another one is tried
MOST_SURPRISE = 4.0  # a step that took longer was held up


def _group(tokens: int) -> int:
    if tokens <= EXACT:
        return tokens
    grain = 1 << max(tokens.bit_length() - 5, 0)
    return (tokens + grain // 2) // grain * grain


class StepCost:
    """Seconds of passes; `seconds` estimates, `record` learns."""

    def __init__(self) -> None:
        self._speed = 1.0
        self._costs: dict[int, float] = {}  # size -> seconds at speed 1
        self._counts: dict[int, int] = {}  # size -> measurements
        self._latest: dict[int, int] = {}  # size -> number of its latest measurement
        self._sizes: list[int] = []  # those of `_costs`, ascending
        self._measurements = 0
        self._trusted_sizes: list[int] = []
        self._trusted_at = -1  # measurements when these were found

    @property
    def measured(self) -> bool:
        """Whether any step was measured."""
        return bool(self._sizes)

    def known(self, tokens: int) -> bool:
        """Whether passes of this size, or of a smaller and a larger one, were measured not too long ago."""
        size = _group(tokens)
        sizes = self._trusted()
        return bool(sizes) and sizes[0] <= size <= sizes[-1]

    def within_reach(self, tokens: int) -> bool:
        """Whether a pass of this size is not too much larger than those that were measured."""
        sizes = self._trusted()
        return bool(sizes) and tokens <= REACH * sizes[-1]

    def seconds(self, tokens: int) -> float:
        """Returns the expected seconds of a pass; 0 before any was measured."""
        size = _group(tokens)
        sizes = self._trusted() or self._sizes
        if not sizes or not size:
            return 0.0
        at = bisect_left(sizes, size)
        if at < len(sizes):
            upper = sizes[at]
            if upper == size or not at:
                return self._speed * self._costs[upper] * size / upper
            lower = sizes[at - 1]
            share = (size - lower) / (upper - lower)
            return self._speed * (self._costs[lower] + share * (self._costs[upper] - self._costs[lower]))
        return self._speed * self._beyond(sizes, size)

    def _beyond(self, sizes: Sequence[int], size: int) -> float:
        """Returns the hoped cost of a size that is larger than all that were measured."""
        last = sizes[-1]
        if len(sizes) == 1:
            each = HOPED_FIRST * self._costs[last] / last
        else:
            before = sizes[-2]
            each = HOPED * max(self._costs[last] - self._costs[before], 0.0) / (last - before)
        return self._costs[last] + each * (size - last)

    def _trusted(self) -> list[int]:
        """Returns the sizes that count, ascending."""
        if self._trusted_at != self._measurements:
            self._trusted_at, newest = self._measurements, self._measurements - STALE
            self._trusted_sizes = [
                size for size in self._sizes if self._counts[size] >= TRUSTED and self._latest[size] > newest
            ]
        return self._trusted_sizes

    def record(self, passes: Sequence[int], seconds: float) -> None:
        """Records a step that took `seconds` for passes of so many tokens."""
        self._measurements += 1
        sizes = [_group(tokens) for tokens in passes]
        new = [size for size in sizes if size not in self._costs]
        expected = self._speed * sum([self._costs[size] for size in sizes if size in self._costs])
        if new:
            each = max(seconds - expected, seconds / (2 * len(sizes))) / len(new) / self._speed
            for size in set(new):
                self._costs[size] = each
                self._counts[size] = 0
                insort(self._sizes, size)
        else:
            change = seconds / expected
            surprise = min(max(change, 1 / MOST_SURPRISE), MOST_SURPRISE)
            if all(self._counts[size] >= TRUSTED for size in sizes):
                self._speed *= surprise**SPEED
            for size in set(sizes):
                if self._counts[size] >= TRUSTED:
                    self._costs[size] *= surprise**SIZE
                else:  # the first ones: the least, as the others were held up
                    self._costs[size] *= min(change, 1.0)
        for size in set(sizes):
            if self._measurements - self._latest.get(size, 0) >= STALE:
                self._counts[size] = 0  # begins anew
            self._counts[size] += 1
            self._latest[size] = self._measurements
