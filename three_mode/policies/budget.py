"""What was spent, by provider, model and label, and budgets that refuse the call that would exceed them."""

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from three_mode.errors import BudgetExceeded
from three_mode.messages import Usage

ZERO = Decimal(0)
_FRESH = 256  # usages that wait to be added up


class Budget(Struct, frozen=True, kw_only=True):
    """At most `limit` dollars for all calls that fit: of one label, provider or model, or of all where none is named."""

    limit: Decimal | float | int
    label: str | None = None
    provider: str | None = None
    model: str | None = None

    def fits(self, provider: str, model: str, label: str | None) -> bool:
        return (
            self.label in (None, label) and self.provider in (None, provider) and self.model in (None, model)
        )

    @property
    def name(self) -> str:
        kinds = (("label", self.label), ("provider", self.provider), ("model", self.model))
        named = [f"{kind} {value}" for kind, value in kinds if value is not None]
        return "the budget of " + (", ".join(named) if named else "this connection")


@dataclass(slots=True)
class Spent:
    """What the calls of one provider, model and label used. `unpriced` counts those whose cost nobody knows."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Decimal = ZERO
    unpriced: int = 0


Key = tuple[str, str, str | None]


class _Tally:
    """What `Spent` is made of: plain numbers, because there is something to add at every call. `touched` are the numbers of the
    budgets that such a call is part of; of its cost, `booked` is in them, and `settled` was reserved for the rest."""

    __slots__ = (
        "booked", "calls", "cost", "input", "output", "read", "reasoning", "settled", "touched", "unpriced", "written",
    )  # fmt: skip

    def __init__(self, touched: tuple[int, ...]) -> None:
        self.touched = touched
        self.calls = self.input = self.output = self.read = self.written = self.reasoning = self.unpriced = 0
        self.cost = self.booked = self.settled = ZERO


class Ledger:
    """Adds up what was spent. With budgets, `reserve` before a call and `settle` after it, whatever came of it.

    What is reserved counts as spent, so that calls side by side cannot exceed together what each of them would not.
    """

    def __init__(self, budgets: tuple[Budget, ...] = ()) -> None:
        self._budgets = budgets
        self.has_budgets = bool(budgets)
        self._limits = [Decimal(str(budget.limit)) for budget in budgets]
        self._taken = [ZERO] * len(budgets)
        self._spent: dict[Key, _Tally] = {}
        self._fresh: list[tuple[Key, Usage, Decimal]] = []

    def reserve(self, provider: str, model: str, label: str | None, most: Decimal | None) -> Decimal:
        """Sets aside the most that the call may cost; BudgetExceeded where a budget has not that much left."""
        key = (provider, model, label)
        touched = self._touched(key)
        if not touched:
            return ZERO
        if most is None:
            raise BudgetExceeded(
                f"nobody knows what {model!r} of {provider} costs, so that {self._budgets[touched[0]].name} cannot be kept",
                provider=provider,
                model=model,
                hint="give its price: Prices({'PROVIDER/MODEL': Price(input=..., output=...)})",
            )
        for i in touched:
            taken = self._taken[i] + most
            if taken > self._limits[i]:
                self._add_up()
                taken = self._taken[i] + most
                if taken > self._limits[i]:
                    for before in touched[: touched.index(i)]:
                        self._taken[before] -= most
                    raise self._exceeded(i, most, provider, model)
            self._taken[i] = taken
        return most

    def _exceeded(self, i: int, most: Decimal, provider: str, model: str) -> BudgetExceeded:
        limit, left = self._limits[i], max(self._limits[i] - self._taken[i], ZERO)
        return BudgetExceeded(
            f"the call may cost ${most:.6f}, and {self._budgets[i].name} has ${left:.6f} left of ${limit}",
            provider=provider,
            model=model,
            hint="lower max_tokens to lower what it may cost",
        )

    def settle(
        self, provider: str, model: str, label: str | None, reserved: Decimal, usage: Usage | None
    ) -> None:
        """The call is over. Without a usage nothing was used; without a cost, what was reserved stays taken."""
        if usage is not None:
            key = (provider, model, label)
            self.add(key, usage, reserved)
            if self.has_budgets and usage.cost is not None and usage.cost > reserved and self._touched(key):
                self._add_up()  # nobody may reserve what is gone
        elif reserved:
            for i in self._spent[provider, model, label].touched:
                self._taken[i] -= reserved

    def _touched(self, key: Key) -> tuple[int, ...]:
        """The numbers of the budgets that such a call is part of."""
        return (self._spent.get(key) or self._tally(key)).touched

    def add(self, key: Key, usage: Usage, reserved: Decimal = ZERO) -> None:
        """What a call used. Added up later, when somebody asks, many wait, or a budget would refuse a call: adding up many in a row
        takes a fraction of adding each as it comes. Until then what was reserved stays taken, which is at least as much."""
        self._fresh.append((key, usage, reserved))
        if len(self._fresh) >= _FRESH:
            self._add_up()

    def _add_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for key, usage, reserved in fresh:
            spent = self._spent.get(key) or self._tally(key)
            cost = usage.cost
            spent.calls += 1
            spent.input += usage.input_tokens
            spent.output += usage.output_tokens
            if usage.cache_read_tokens:
                spent.read += usage.cache_read_tokens
            if usage.cache_write_tokens:
                spent.written += usage.cache_write_tokens
            if usage.reasoning_tokens:
                spent.reasoning += usage.reasoning_tokens
            if cost is None:
                spent.unpriced += 1
            else:
                spent.cost += cost
                if spent.touched:
                    spent.settled += reserved
        if self.has_budgets:
            for spent in {self._spent[key] for key, _, _ in fresh}:
                self._free(spent)

    def _free(self, spent: _Tally) -> None:
        """In its budgets, what calls did cost takes the place of what was reserved for them."""
        more = spent.cost - spent.booked - spent.settled
        spent.booked, spent.settled = spent.cost, ZERO
        for i in spent.touched:
            self._taken[i] += more

    def _tally(self, key: Key) -> _Tally:
        touched = tuple(i for i, budget in enumerate(self._budgets) if budget.fits(*key))
        tally = self._spent[key] = _Tally(touched)
        return tally

    def spent(
        self, *, provider: str | None = None, model: str | None = None, label: str | None = None
    ) -> Spent:
        """The sum over whatever is not named."""
        self._add_up()
        total, sums = Spent(), [0] * 5
        for (a_provider, a_model, a_label), each in self._spent.items():
            if provider in (None, a_provider) and model in (None, a_model) and label in (None, a_label):
                total.calls += each.calls
                for place, used in enumerate(
                    (each.input, each.output, each.read, each.written, each.reasoning)
                ):
                    sums[place] += used
                total.cost += each.cost
                total.unpriced += each.unpriced
        total.usage = Usage(sums[0], sums[1], sums[2], sums[3], sums[4])
        return total

    def left(self) -> dict[str, Decimal]:
        """Each budget and what it has left."""
        self._add_up()
        return {
            budget.name: limit - taken
            for budget, limit, taken in zip(self._budgets, self._limits, self._taken, strict=True)
        }
