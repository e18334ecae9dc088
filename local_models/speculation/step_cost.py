"""Step cost: seconds of a pass over the weights by its number of tokens, from measured steps. Pure.

A machine is slower for a while when others use it, for passes of all sizes alike. So a size has a relative cost, which
changes slowly, and all sizes have one speed, which changes fast. In a size that was not measured, a token more than in
the next smaller one that was costs half of one there: to try it is the only way to know.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

EXACT = 24  # sizes up to here are kept one by one, larger ones in groups of about a sixteenth
SPEED, SIZE = 0.2, 0.04  # weight of a new measurement for the speed, and for the size
TRUSTED = 3  # measurements of a size before it says something of the speed
STALE = 400  # measurements after which a size other than those of late counts as not measured
HOPED = 0.5  # cost of a token more in a size that was not measured, by the cost of a token in one that was
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

    @property
    def measured(self) -> bool:
        """Whether any step was measured."""
        return bool(self._sizes)

    def known(self, tokens: int) -> bool:
        """Whether passes of this size were measured, and not too long ago."""
        size = _group(tokens)
        return self._counts.get(size, 0) >= TRUSTED and self._measurements - self._latest[size] < STALE

    def seconds(self, tokens: int) -> float:
        """Returns the expected seconds of a pass; 0 before any was measured."""
        size = _group(tokens)
        cost = self._costs.get(size) if self.known(tokens) else None
        return self._speed * (cost if cost is not None else self._from_smaller(size))

    def _from_smaller(self, size: int) -> float:
        """Returns the cost of a size by that of the next smaller one, or by a share of the next larger one."""
        at = bisect_left(self._sizes, size)
        if at:
            smaller = self._sizes[at - 1]
            return self._costs[smaller] * (1 + HOPED * (size / smaller - 1))
        if not self._sizes or not size:
            return 0.0
        larger = self._sizes[0]
        return self._costs[larger] * size / larger

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
