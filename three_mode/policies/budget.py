"""What was spent, by provider, model and label, and budgets that refuse the call that would exceed them."""

from decimal import Decimal

from msgspec import Struct

from three_mode.errors import BudgetExceeded
from three_mode.least_used import MOST
from three_mode.messages import Usage
from three_mode.policies.tallies import ZERO, Key, SpendingTally, Spent, Tallies

_FRESH = 256  # usages that wait to be added up


class Budget(Struct, frozen=True, kw_only=True):
    """At most `limit` dollars for all calls that fit: of one label, provider or model, or of all where none is named."""

    limit: Decimal | float | int  #: US dollars
    label: str | None = None  #: calls of this label; None: of any
    provider: str | None = None  #: calls to this provider; None: to any
    model: str | None = None  #: calls to this model; None: to any

    def fits(self, provider: str, model: str, label: str | None) -> bool:
        """Whether a call counts towards this budget."""
        return self.label in (None, label) and self.provider in (None, provider) and self.model in (None, model)

    @property
    def name(self) -> str:
        """What the budget is called in errors."""
        kinds = (("label", self.label), ("provider", self.provider), ("model", self.model))
        named = [f"{kind} {value}" for kind, value in kinds if value is not None]
        return "the budget of " + (", ".join(named) if named else "this connection")


class SpendingLedger:
    """Adds up what was spent. With budgets, `reserve` before a call and `settle` after it, whatever came of it.

    What is reserved counts as spent, so that calls side by side cannot exceed together what each of them would not.
    """

    def __init__(self, budgets: tuple[Budget, ...] = (), most: int = MOST) -> None:
        """`most` are the providers, models and labels that are told apart at a time."""
        self._budgets = budgets
        self.has_budgets = bool(budgets)
        self._limits = [Decimal(str(budget.limit)) for budget in budgets]
        self._taken = [ZERO] * len(budgets)
        self._tallies = Tallies(lambda key: tuple(i for i, budget in enumerate(budgets) if budget.fits(*key)), most)
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

    def settle(self, provider: str, model: str, label: str | None, reserved: Decimal, usage: Usage | None) -> None:
        """The call is over. Without a usage nothing was used; without a cost, what was reserved stays taken."""
        if usage is not None:
            key = (provider, model, label)
            self.add(key, usage, reserved)
            if self.has_budgets and usage.cost is not None and usage.cost > reserved and self._touched(key):
                self._add_up()  # nobody may reserve what is gone
        elif reserved:
            for i in self._touched((provider, model, label)):
                self._taken[i] -= reserved

    def _touched(self, key: Key) -> tuple[int, ...]:
        """The numbers of the budgets that such a call is part of."""
        tally = self._tallies.known.get(key)
        if tally is None:
            self._tallies.bound()
            tally = self._tallies.of(key)
        return tally.touched

    def add(self, key: Key, usage: Usage, reserved: Decimal = ZERO) -> None:
        """What a call used. Added up later, when somebody asks, many wait, or a budget would refuse a call: adding up many in a row
        takes a fraction of adding each as it comes. Until then what was reserved stays taken, which is at least as much."""
        self._fresh.append((key, usage, reserved))
        if len(self._fresh) >= _FRESH:
            self._add_up()

    def _add_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for spent in self._tallies.add_up(fresh):
            self._free(spent)
        self._tallies.bound()

    def _free(self, spent: SpendingTally) -> None:
        """In its budgets, what calls did cost takes the place of what was reserved for them."""
        more = spent.cost - spent.booked - spent.settled
        spent.booked, spent.settled = spent.cost, ZERO
        for i in spent.touched:
            self._taken[i] += more

    def spent(self, *, provider: str | None = None, model: str | None = None, label: str | None = None) -> Spent:
        """The sum over whatever is not named. Where there were too many to be told apart, the longest unused count for no model, or
        for no label, and for all in any case."""
        self._add_up()
        return self._tallies.sum(provider, model, label)

    def left(self) -> dict[str, Decimal]:
        """Each budget and what it has left."""
        self._add_up()
        return {
            budget.name: limit - taken
            for budget, limit, taken in zip(self._budgets, self._limits, self._taken, strict=True)
        }
