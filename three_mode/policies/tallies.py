"""Tallies of spending by provider, model and label, in bounded memory: there may be as many labels as people."""

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from three_mode.least_used import MOST, OTHERS, LeastUsed
from three_mode.messages import Usage

ZERO = Decimal(0)
Key = tuple[str, str, str | None]  # provider, model, label


class Spent(Struct):
    """Spending of the calls of one provider, model or label, or of all."""

    calls: int = 0  #: calls
    usage: Usage = Usage()  #: tokens, and their cost, where that of every call is known
    cost: Decimal = ZERO  #: US dollars, of calls with a known cost
    unpriced: int = 0  #: calls whose cost is not known


class SpendingTally:
    """Sums of one provider, model and label, as plain numbers, because every call adds to them.

    `budgets` are the numbers of the budgets that such a call counts towards. `booked` is the part of the cost that
    these budgets contain; `settled` is the reserved money of the other part.
    """

    __slots__ = (
        "booked",
        "budgets",
        "calls",
        "cost",
        "input",
        "output",
        "read",
        "reasoning",
        "seen",
        "settled",
        "unpriced",
        "unused",
        "written",
    )

    def __init__(self, budgets: tuple[int, ...]) -> None:
        self.budgets = budgets
        self.calls = self.input = self.output = self.read = self.written = self.reasoning = self.unpriced = 0
        self.cost = self.booked = self.settled = ZERO
        self.seen = self.unused = 0

    def merge(self, other: "SpendingTally") -> None:
        """Adds the sums of another tally. Budgets that contain its cost still do."""
        self.calls += other.calls
        self.input += other.input
        self.output += other.output
        self.read += other.read
        self.written += other.written
        self.reasoning += other.reasoning
        self.unpriced += other.unpriced
        self.cost += other.cost


class Tallies:
    """Tallies by key, made when first needed."""

    def __init__(self, budgets_of: Callable[[Key], tuple[int, ...]], most: int = MOST) -> None:
        """`budgets_of` returns the numbers of the budgets that a call with a key counts towards."""
        self.known: dict[Key, SpendingTally] = {}
        self._budgets_of = budgets_of
        self._least_used = LeastUsed(self.known, most)

    def of(self, key: Key) -> SpendingTally:
        """Tally of a key."""
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = SpendingTally(self._budgets_of(key))
        return found

    def add_up(self, calls: list[tuple[Key, Usage, Decimal]]) -> set[SpendingTally]:
        """Adds the usage and the reserved money of each call. Returns the tallies whose budgets change."""
        known, new, changed = self.known, self.of, set[SpendingTally]()
        for key, usage, reserved in calls:
            tally = known.get(key) or new(key)
            cost = usage.cost
            tally.calls += 1
            tally.input += usage.input_tokens
            tally.output += usage.output_tokens
            if usage.cache_read_tokens:
                tally.read += usage.cache_read_tokens
            if usage.cache_write_tokens:
                tally.written += usage.cache_write_tokens
            if usage.reasoning_tokens:
                tally.reasoning += usage.reasoning_tokens
            if cost is None:
                tally.unpriced += 1
            else:
                tally.cost += cost
                if tally.budgets:
                    tally.settled += reserved
                    changed.add(tally)
        return changed

    def bound(self) -> None:
        """Merges the longest unused tallies where there are too many. All their cost must be booked."""
        going = self._least_used.going()
        into = _half_as_many(going)
        for key in going:
            gone, rest = self.known.pop(key), into(key)
            if rest not in self.known:
                self.known[rest] = SpendingTally(())
            self.known[rest].merge(gone)

    def sum(self, provider: str | None, model: str | None, label: str | None) -> Spent:
        """Sum over the calls of a provider, model and label; None matches all."""
        total, sums = Spent(), [0] * 5
        for (a_provider, a_model, a_label), each in list(self.known.items()):
            if provider in (None, a_provider) and model in (None, a_model) and label in (None, a_label):
                total.calls += each.calls
                for place, used in enumerate((each.input, each.output, each.read, each.written, each.reasoning)):
                    sums[place] += used
                total.cost += each.cost
                total.unpriced += each.unpriced
        known = total.calls and not total.unpriced  # a sum with an unknown cost is unknown
        total.usage = Usage(sums[0], sums[1], sums[2], sums[3], sums[4], total.cost if known else None)
        return total


def _half_as_many(keys: list[Key]) -> Callable[[Key], Key]:
    """Function that maps these keys to at most half as many.

    Keys lose their model, or their label where there are more labels: sums of a label that many models share stay
    exact, or of a model that many labels share. If that is not enough they lose both.
    """
    models, labels = {key[:2] for key in keys}, {key[2] for key in keys}
    mappings: list[Callable[[Key], Key]] = [
        lambda key: (key[0], OTHERS, key[2]) if len(models) >= len(labels) else (key[0], key[1], OTHERS),
        lambda key: (key[0], OTHERS, OTHERS),
    ]
    for mapping in mappings:
        if len({mapping(key) for key in keys}) <= len(keys) // 2:
            return mapping
    return lambda key: (OTHERS, OTHERS, OTHERS)
