"""What the page shows of models and money, made of the figures of several connections. Pure.

A dollar stands once: a call to an agent stands under the provider `agent` alone, since what a model behind it used is
in the figures of the connection that paid. So totals, models and labels leave calls to agents out.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from local_models import Statistics
from three_mode.connection import ConnectionFigures
from three_mode.least_used import OTHERS
from three_mode.policies.budget import SpendingRow

AGENT = "agent"
OTHER = "(others)"  # names that are not kept apart any more
UNLABELLED = "(no label)"
MOST_ROWS = 100  # of one table


class Heard(Struct, frozen=True, kw_only=True):
    """The figures of one connection, and whose they are."""

    where: str  #: process: the label of a host, or a word for the one that the page is in
    agent: str = ""  #: agent behind which the connection is; empty: it is shared by all in the process
    figures: ConnectionFigures


class ModelRow(Struct, frozen=True, kw_only=True):
    """One loaded model of a computer."""

    name: str
    where: str
    agent: str
    architecture: str
    device: str
    running: int  #: calls with a place in the batch
    waiting: int  #: calls in the queue
    sequences: int  #: places in the batch, now
    width: int  #: places that it may grow to
    batch: float | None  #: tokens that a step wrote, on average since the last reading; None: no step was made
    tokens_per_second: float | None  #: of answers, since the last reading; None: this is the first
    prompt_per_second: float | None  #: tokens of prompts that were computed, likewise
    used_tokens: int  #: tokens in the KV cache
    pool: int  #: tokens that it has room for
    prefix_hits: float | None  #: share of prompts' tokens that were in the cache already, since it was loaded
    finished: int
    failed: int
    cancelled: int
    expired: int
    refused: int
    preempted: int
    restarts: int
    memory_bytes: int


class MoneyRow(Struct, frozen=True, kw_only=True):
    """What was used under one name."""

    name: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: Decimal = Decimal(0)  #: US dollars of the calls whose price is known
    unpriced: int = 0  #: calls whose price is not known


class CallsRow(Struct, frozen=True, kw_only=True):
    """How calls to one model went. Times are those of the process that was slowest, so that none is too good."""

    name: str
    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    p50: float | None = None
    p99: float | None = None


class BudgetRow(Struct, frozen=True, kw_only=True):
    """One budget of one process."""

    name: str
    where: str
    limit: Decimal
    left: Decimal


class BreakerRow(Struct, frozen=True, kw_only=True):
    """One target that is not tried now, or on trial."""

    target: str
    where: str
    state: str
    seconds: float  #: until a call may try it


class LimiterRow(Struct, frozen=True, kw_only=True):
    """One limiter that had something to limit."""

    name: str
    where: str
    in_flight: int
    at_once: int
    waiting: int
    held_back: int
    wait: float
    requests_left: int | None
    tokens_left: int | None


class ModelsMessage(Struct, frozen=True, kw_only=True, tag_field="kind", tag="models"):
    """Message of the page's socket."""

    at: float  #: seconds since the epoch
    models: tuple[ModelRow, ...] = ()
    total: MoneyRow = MoneyRow(name="all calls")
    providers: tuple[MoneyRow, ...] = ()
    spent: tuple[MoneyRow, ...] = ()  #: by `PROVIDER/MODEL`
    labels: tuple[MoneyRow, ...] = ()
    calls: tuple[CallsRow, ...] = ()
    budgets: tuple[BudgetRow, ...] = ()
    breakers: tuple[BreakerRow, ...] = ()
    limiters: tuple[LimiterRow, ...] = ()
    silent: tuple[str, ...] = ()  #: processes that did not answer in time, and are not in any of this


class ModelsReadings:
    """Makes the message of each reading. It remembers the reading before, for what happens in a second."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str, str, int], tuple[float, Statistics]] = {}

    def read(self, heard: Sequence[Heard], now: float, at: float, silent: Iterable[str] = ()) -> ModelsMessage:
        """The message. `now` is a clock that never goes back, `at` the time of day."""
        ours = [(each, each.figures) for each in heard]
        rows = [row for _, figures in ours for row in figures.spending]
        paid = [row for row in rows if row.provider != AGENT]
        return ModelsMessage(
            at=at,
            models=tuple(self._models(heard, now)),
            total=_sum("all calls", paid),
            providers=_summed(rows, lambda row: _shown(row.provider)),
            spent=_summed(paid, lambda row: _shown(row.provider if row.model == OTHERS else _target(row))),
            labels=_summed(paid, lambda row: UNLABELLED if row.label is None else _shown(row.label)),
            calls=_calls(heard),
            budgets=tuple(
                BudgetRow(name=each.name, where=_place(said), limit=each.limit, left=each.left)
                for said, figures in ours
                for each in figures.budgets
            )[:MOST_ROWS],
            breakers=tuple(
                BreakerRow(target=target, where=_place(said), state=state, seconds=figures.cooling.get(target, 0.0))
                for said, figures in ours
                for target, state in figures.breakers.items()
            )[:MOST_ROWS],
            limiters=tuple(
                LimiterRow(
                    name=name,
                    where=_place(said),
                    in_flight=each.in_flight,
                    at_once=each.at_once,
                    waiting=each.waiting,
                    held_back=each.held_back,
                    wait=each.wait,
                    requests_left=each.requests_left,
                    tokens_left=each.tokens_left,
                )
                for said, figures in ours
                for name, each in figures.limiters.items()
            )[:MOST_ROWS],
            silent=tuple(sorted(silent)),
        )

    def _models(self, heard: Sequence[Heard], now: float) -> Iterable[ModelRow]:
        before, self._before = self._before, {}
        for said in heard:
            names: dict[str, int] = {}
            for model in said.figures.models:
                place = names[model.name] = names.get(model.name, -1) + 1  # two files may have one name
                key = (said.where, said.agent, model.name, place)
                self._before[key] = (now, model.statistics)
                yield _model_row(model.name, said, model.statistics, before.get(key), now)


def _model_row(
    name: str, said: Heard, now_is: Statistics, before: tuple[float, Statistics] | None, now: float
) -> ModelRow:
    seconds = written = computed = steps = 0.0
    if before is not None and now_is.steps >= before[1].steps:  # else its worker was started again
        was = before[1]
        seconds, steps = now - before[0], now_is.steps - was.steps
        written = now_is.completion_tokens - was.completion_tokens
        computed = (now_is.prompt_tokens - now_is.reused_tokens) - (was.prompt_tokens - was.reused_tokens)
    return ModelRow(
        name=name,
        where=said.where,
        agent=said.agent,
        architecture=now_is.architecture,
        device=now_is.device,
        running=now_is.running,
        waiting=now_is.waiting,
        sequences=now_is.sequences,
        width=now_is.width,
        batch=written / steps if steps else None,
        tokens_per_second=written / seconds if seconds > 0 else None,
        prompt_per_second=computed / seconds if seconds > 0 else None,
        used_tokens=now_is.used_tokens,
        pool=now_is.pool,
        prefix_hits=now_is.reused_tokens / now_is.prompt_tokens if now_is.prompt_tokens else None,
        finished=now_is.finished,
        failed=now_is.failed,
        cancelled=now_is.cancelled,
        expired=now_is.expired,
        refused=now_is.refused,
        preempted=now_is.preempted,
        restarts=now_is.restarts,
        memory_bytes=now_is.memory_bytes,
    )


def _summed(rows: Iterable[SpendingRow], name_of: Callable[[SpendingRow], str]) -> tuple[MoneyRow, ...]:
    """Rows by name, those that cost most first; beyond the most that are shown, one row has the others."""
    groups: dict[str, list[SpendingRow]] = {}
    for row in rows:
        groups.setdefault(name_of(row), []).append(row)
    sums = sorted((_sum(name, each) for name, each in groups.items()), key=lambda row: (-row.cost, -row.calls))
    if len(sums) <= MOST_ROWS:
        return tuple(sums)
    kept = [row for row in sums if row.name != OTHER][: MOST_ROWS - 1]
    names = {row.name for row in kept}
    rest = _sum(OTHER, (row for name, each in groups.items() if name not in names for row in each))
    return (*kept, rest)


def _sum(name: str, rows: Iterable[SpendingRow]) -> MoneyRow:
    each = list(rows)
    return MoneyRow(
        name=name,
        calls=sum(row.calls for row in each),
        input_tokens=sum(row.input_tokens for row in each),
        output_tokens=sum(row.output_tokens for row in each),
        cached_tokens=sum(row.cached_tokens for row in each),
        cost=sum((row.cost for row in each), Decimal(0)),
        unpriced=sum(row.unpriced for row in each),
    )


def _calls(heard: Sequence[Heard]) -> tuple[CallsRow, ...]:
    found: dict[str, CallsRow] = {}
    for said in heard:
        for each in said.figures.calls:
            row = found.get(each.name, CallsRow(name=each.name))
            found[each.name] = CallsRow(
                name=each.name,
                requests=row.requests + each.requests,
                failed=row.failed + each.failed,
                cancelled=row.cancelled + each.cancelled,
                p50=_slower(row.p50, each.p50),
                p99=_slower(row.p99, each.p99),
            )
    return tuple(sorted(found.values(), key=lambda row: -row.requests)[:MOST_ROWS])


def _slower(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _target(row: SpendingRow) -> str:
    return f"{row.provider}/{row.model}"


def _shown(name: str) -> str:
    return OTHER if name == OTHERS else name


def _place(said: Heard) -> str:
    return f"{said.where}: {said.agent}" if said.agent else said.where
