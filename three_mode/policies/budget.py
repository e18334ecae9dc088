"""Spending by provider, model and label, and budgets that refuse a call that would exceed them."""

from decimal import Decimal
from heapq import nlargest

from msgspec import Struct

from three_mode.errors import BudgetExceeded
from three_mode.least_used import MOST, OTHERS
from three_mode.messages import Usage
from three_mode.policies.tallies import ZERO, Key, SpendingTally, Spent, Tallies

_FRESH = 256  # most usages that wait to be added up


class Budget(Struct, frozen=True, kw_only=True):
    """Budget of at most `limit` dollars for the calls of a label, provider or model, or for all calls."""

    limit: Decimal | float | int  #: US dollars
    label: str | None = None  #: calls of this label; None: of any
    provider: str | None = None  #: calls to this provider; None: to any
    model: str | None = None  #: calls to this model; None: to any

    def fits(self, provider: str, model: str, label: str | None) -> bool:
        """Whether a call counts towards this budget."""
        return self.label in (None, label) and self.provider in (None, provider) and self.model in (None, model)

    @property
    def name(self) -> str:
        """Name of the budget in errors."""
        kinds = (("label", self.label), ("provider", self.provider), ("model", self.model))
        named = [f"{kind} {value}" for kind, value in kinds if value is not None]
        return "the budget of " + (", ".join(named) if named else "this connection")


class SpendingRow(Struct, frozen=True, kw_only=True):
    """Spending of the calls of one provider, model and label. Names that are not kept apart any more are `OTHERS`."""

    provider: str
    model: str
    label: str | None  #: None: calls without a label
    calls: int  #: attempts that used something
    input_tokens: int
    output_tokens: int
    cached_tokens: int  #: input tokens that a cache of the provider, or of the model, had
    cost: Decimal = ZERO  #: US dollars, of calls with a known cost
    unpriced: int = 0  #: calls whose cost is not known


class SpendingLedger:
    """Ledger of spending. With budgets, call `reserve` before a call and `settle` after it, also after a failure.

    Reserved money counts as spent, so that calls side by side cannot exceed a budget together.
    """

    def __init__(self, budgets: tuple[Budget, ...] = (), most: int = MOST) -> None:
        """Keeps at most `most` combinations of provider, model and label apart."""
        self._budgets = budgets
        self.has_budgets = bool(budgets)
        self._limits = [Decimal(str(budget.limit)) for budget in budgets]
        self._taken = [ZERO] * len(budgets)
        self._tallies = Tallies(lambda key: tuple(i for i, budget in enumerate(budgets) if budget.fits(*key)), most)
        self._fresh: list[tuple[Key, Usage, Decimal]] = []

    def reserve(self, provider: str, model: str, label: str | None, most: Decimal | None) -> Decimal:
        """Reserves the most that a call may cost; raises BudgetExceeded where a budget has less left."""
        key = (provider, model, label)
        numbers = self._budgets_of(key)
        if not numbers:
            return ZERO
        if most is None:
            raise BudgetExceeded(
                f"nobody knows what {model!r} of {provider} costs, "
                f"so that {self._budgets[numbers[0]].name} cannot be kept",
                provider=provider,
                model=model,
                hint="give its price: Prices({'PROVIDER/MODEL': Price(input=..., output=...)})",
            )
        for i in numbers:
            taken = self._taken[i] + most
            if taken > self._limits[i]:
                self._add_up()
                taken = self._taken[i] + most
                if taken > self._limits[i]:
                    for before in numbers[: numbers.index(i)]:
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

    def settle(self, provider: str, model: str, label: str | None, reserved: Decimal, usage: Usage | None) -> None:
        """Ends a call. Without a usage nothing was used; without a cost, the reserved money stays spent."""
        if usage is not None:
            key = (provider, model, label)
            self.add(key, usage, reserved)
            if self.has_budgets and usage.cost is not None and usage.cost > reserved and self._budgets_of(key):
                self._add_up()  # so that no call reserves spent money
        elif reserved:
            for i in self._budgets_of((provider, model, label)):
                self._taken[i] -= reserved

    def _budgets_of(self, key: Key) -> tuple[int, ...]:
        """Numbers of the budgets that a call counts towards."""
        tally = self._tallies.known.get(key)
        if tally is None:
            self._tallies.bound()
            tally = self._tallies.of(key)
        return tally.budgets

    def add(self, key: Key, usage: Usage, reserved: Decimal = ZERO) -> None:
        """Adds the usage of a call.

        Usages are added up in batches: when sums are read, when many wait, or before a budget refuses a call. A batch
        takes a fraction of the time of adding each usage as it comes. Until then the reserved money, at least as much,
        stays spent.
        """
        self._fresh.append((key, usage, reserved))
        if len(self._fresh) >= _FRESH:
            self._add_up()

    def _add_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for spent in self._tallies.add_up(fresh):
            self._settle_budgets(spent)
        self._tallies.bound()

    def _settle_budgets(self, spent: SpendingTally) -> None:
        """Replaces, in its budgets, the reserved money of calls by their cost."""
        more = spent.cost - spent.booked - spent.settled
        spent.booked, spent.settled = spent.cost, ZERO
        for i in spent.budgets:
            self._taken[i] += more

    def spent(self, *, provider: str | None = None, model: str | None = None, label: str | None = None) -> Spent:
        """Sum over all calls of a provider, model or label; an omitted one matches all.

        Beyond `most` combinations, the longest unused lose their model or their label; they still count for all.
        """
        self._add_up()
        return self._tallies.sum(provider, model, label)

    def rows(self, most: int = MOST) -> list[SpendingRow]:
        """The `most` rows that cost most, of equal ones those with the most calls; the others are added up in one."""
        self._add_up()
        known = self._tallies.known
        kept = nlargest(most, known.items(), key=lambda item: (item[1].cost, item[1].calls))
        if len(kept) < len(known):
            shown, rest = {key for key, _ in kept}, SpendingTally(())
            for key, tally in known.items():
                if key not in shown:
                    rest.merge(tally)
            kept.append(((OTHERS, OTHERS, OTHERS), rest))
        return [
            SpendingRow(
                provider=provider,
                model=model,
                label=label,
                calls=tally.calls,
                input_tokens=tally.input,
                output_tokens=tally.output,
                cached_tokens=tally.read,
                cost=tally.cost,
                unpriced=tally.unpriced,
            )
            for (provider, model, label), tally in kept
        ]

    def left(self) -> dict[str, Decimal]:
        """Each budget, and the dollars that it has left."""
        return {budget.name: left for budget, _, left in self.standings()}

    def standings(self) -> list[tuple[Budget, Decimal, Decimal]]:
        """Each budget, its limit, and the dollars that it has left."""
        self._add_up()
        return [
            (budget, limit, limit - taken)
            for budget, limit, taken in zip(self._budgets, self._limits, self._taken, strict=True)
        ]
