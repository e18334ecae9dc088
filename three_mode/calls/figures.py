"""Figures of one connection at one moment: what a page, or another process, shows of it. Nobody outside is asked."""

import os
import secrets
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from local_models import Statistics
from three_mode.calls.gates import Gates
from three_mode.observe.report import CallSums, Report
from three_mode.policies import SpendingLedger
from three_mode.policies.budget import SpendingRow
from three_mode.policies.limiter import LimiterStanding

_PROCESS = secrets.token_hex(8)
MOST_ROWS = 200  # of spending, and of the models that calls went to: figures travel, and a page shows no more


class LocalFigures(Struct, frozen=True, kw_only=True):
    """One loaded model of this computer."""

    name: str  #: name that requests use
    statistics: Statistics


class BudgetStanding(Struct, frozen=True, kw_only=True):
    """One budget."""

    name: str  #: whose budget it is, in words
    limit: Decimal  #: US dollars
    left: Decimal  #: US dollars; what running calls have reserved is not in it


class ModelCalls(Struct, frozen=True, kw_only=True):
    """Calls to one model, in seconds where they are times."""

    name: str  #: `PROVIDER/MODEL`
    requests: int
    failed: int
    cancelled: int
    p50: float | None = None
    p99: float | None = None


class ConnectionFigures(Struct, frozen=True, kw_only=True):
    """What one connection has to say."""

    source: str = ""  #: which connection it is, so that figures that come by two ways count once
    models: tuple[LocalFigures, ...] = ()  #: loaded models of this computer
    spending: tuple[SpendingRow, ...] = ()  #: tokens and money since the connection was made
    calls: tuple[ModelCalls, ...] = ()
    budgets: tuple[BudgetStanding, ...] = ()
    breakers: dict[str, str] = {}  #: targets that are not tried now, or on trial: `open` or `half-open`
    cooling: dict[str, float] = {}  #: seconds until an open breaker lets a call try its target
    limiters: dict[str, LimiterStanding] = {}  #: limiters that had something to limit


def figures_of(
    ledger: SpendingLedger, report: Report, gates: Gates, models: Iterable[tuple[str, Statistics]]
) -> ConnectionFigures:
    """The figures. `report` is one by model."""
    calls = sorted(report.by_model.rows.items(), key=lambda item: -item[1].requests)[:MOST_ROWS]
    return ConnectionFigures(
        source=f"{_PROCESS}-{os.getpid()}-{id(ledger):x}",
        models=tuple(LocalFigures(name=name, statistics=each) for name, each in models),
        spending=tuple(ledger.rows(MOST_ROWS)),
        calls=tuple(_calls(name, sums) for name, sums in calls),
        budgets=tuple(
            BudgetStanding(name=budget.name, limit=limit, left=left) for budget, limit, left in ledger.standings()
        ),
        breakers=gates.states(),
        cooling=gates.cooling(),
        limiters=gates.standings(),
    )


def _calls(name: str, sums: CallSums) -> ModelCalls:
    return ModelCalls(
        name=name,
        requests=sums.requests,
        failed=sums.failed,
        cancelled=sums.cancelled,
        p50=sums.latency.p50,
        p99=sums.latency.p99,
    )
