"""What was spent, by provider, model and label, in bounded memory: agents come and go, and labels may be as many as people."""

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from three_mode.least_used import MOST, OTHERS, LeastUsed
from three_mode.messages import Usage

ZERO = Decimal(0)
Key = tuple[str, str, str | None]  # provider, model, label


class Spent(Struct):
    """What the calls of one provider, model and label used. `unpriced` counts those whose cost nobody knows."""

    calls: int = 0
    usage: Usage = Usage()
    cost: Decimal = ZERO
    unpriced: int = 0


class SpendingTally:
    """What `Spent` is made of: plain numbers, because there is something to add at every call. `touched` are the numbers of the
    budgets that such a call is part of; of its cost, `booked` is in them, and `settled` was reserved for the rest."""

    __slots__ = (
        "booked",
        "calls",
        "cost",
        "input",
        "output",
        "read",
        "reasoning",
        "seen",
        "settled",
        "touched",
        "unpriced",
        "unused",
        "written",
    )

    def __init__(self, touched: tuple[int, ...]) -> None:
        self.touched = touched
        self.calls = self.input = self.output = self.read = self.written = self.reasoning = self.unpriced = 0
        self.cost = self.booked = self.settled = ZERO
        self.seen = self.unused = 0

    def take(self, other: "SpendingTally") -> None:
        """All that the other one has. What that is in budgets stays in them."""
        self.calls += other.calls
        self.input += other.input
        self.output += other.output
        self.read += other.read
        self.written += other.written
        self.reasoning += other.reasoning
        self.unpriced += other.unpriced
        self.cost += other.cost


class Tallies:
    """One for each key, made when first needed."""

    def __init__(self, touched: Callable[[Key], tuple[int, ...]], most: int = MOST) -> None:
        """`touched` gives the numbers of the budgets that a call of such a key is part of."""
        self.known: dict[Key, SpendingTally] = {}
        self._touched = touched
        self._least_used = LeastUsed(self.known, most)

    def of(self, key: Key) -> SpendingTally:
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = SpendingTally(self._touched(key))
        return found

    def add_up(self, calls: list[tuple[Key, Usage, Decimal]]) -> set[SpendingTally]:
        """What each call used, and what was reserved for it. Those whose budgets are to hear of it."""
        known, new, heard = self.known, self.of, set[SpendingTally]()
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
                if tally.touched:
                    tally.settled += reserved
                    heard.add(tally)
        return heard

    def bound(self) -> None:
        """Where there are too many, the longest unused are added to one another; all that they cost must be booked."""
        going = self._least_used.going()
        into = _half_as_many(going)
        for key in going:
            gone, rest = self.known.pop(key), into(key)
            if rest not in self.known:
                self.known[rest] = SpendingTally(())
            self.known[rest].take(gone)

    def sum(self, provider: str | None, model: str | None, label: str | None) -> Spent:
        """Over whatever is None."""
        total, sums = Spent(), [0] * 5
        for (a_provider, a_model, a_label), each in list(self.known.items()):
            if provider in (None, a_provider) and model in (None, a_model) and label in (None, a_label):
                total.calls += each.calls
                for place, used in enumerate((each.input, each.output, each.read, each.written, each.reasoning)):
                    sums[place] += used
                total.cost += each.cost
                total.unpriced += each.unpriced
        total.usage = Usage(sums[0], sums[1], sums[2], sums[3], sums[4])
        return total


def _half_as_many(keys: list[Key]) -> Callable[[Key], Key]:
    """What becomes of these keys so that they are half as many at most. They lose their model, or their label where they have more of
    those: sums of a label that many agents share stay exact, or of a model that many labels share. If that is not enough they lose both."""
    models, labels = {key[:2] for key in keys}, {key[2] for key in keys}
    ways: list[Callable[[Key], Key]] = [
        lambda key: (key[0], OTHERS, key[2]) if len(models) >= len(labels) else (key[0], key[1], OTHERS),
        lambda key: (key[0], OTHERS, OTHERS),
    ]
    for way in ways:
        if len({way(key) for key in keys}) <= len(keys) // 2:
            return way
    return lambda key: (OTHERS, OTHERS, OTHERS)
