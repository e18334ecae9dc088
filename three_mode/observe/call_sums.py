"""Sums of calls in bounded memory, and the report that they make: of a connection's calls, or of a records file.

The figures of calls wait in a list and are added up in batches, which costs a fraction of adding each as it comes.
"""

from collections.abc import Iterable
from typing import get_args

from three_mode.errors import InvalidRequest
from three_mode.histogram import TWENTIETH, Histogram, bucket_of
from three_mode.least_used import LeastUsed
from three_mode.messages import Usage
from three_mode.observe.call_figures import AttemptUse, CallFigures
from three_mode.observe.report import ZERO, Breakdown, CallSums, Dimension, Percentiles, Report

MOST_NAMES = 1000  # names that are kept apart in each dimension
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
_FRESH = 256  # most calls that wait to be added up
_ALONE = 3  # so many equal calls are counted under each name; more are first summed by themselves
# Provider, model and label that a call is counted under.
Asked = tuple[str, str, str | None]


class CallTally:
    """Sums of one name, as plain numbers, because every call adds to several."""

    __slots__ = (
        "attempt_errors",
        "cache_hits",
        "calls",
        "cancelled",
        "coalesced",
        "cost",
        "errors",
        "first_content",
        "hedged",
        "input",
        "latency",
        "output",
        "priced",
        "read",
        "reasoning",
        "requests",
        "retries",
        "seen",
        "switched",
        "unpriced",
        "unused",
        "written",
    )

    def __init__(self) -> None:
        self.calls = self.seen = self.unused = 0  # see LeastUsed; attempts and calls alike
        self.requests = self.cancelled = self.cache_hits = self.coalesced = 0
        self.retries = self.switched = self.hedged = 0
        self.input = self.output = self.read = self.written = self.reasoning = 0
        self.cost, self.priced, self.unpriced = ZERO, 0, 0
        self.errors: dict[str, int] = {}
        self.attempt_errors: dict[str, int] = {}
        self.latency, self.first_content = Histogram(TWENTIETH), Histogram(TWENTIETH)

    def add_call(self, latency: int | None, first_content: int | None, unusual: CallFigures | None) -> None:
        """Adds a call, whose durations fall into these buckets; None: they are not measured. `unusual` are its figures
        where they say more than that it was answered."""
        self.calls += 1
        self.requests += 1
        if latency is not None:
            self.latency.add_to(latency)
        if first_content is not None:
            self.first_content.add_to(first_content)
        if unusual is not None:
            self.cancelled += unusual.outcome == "cancelled"
            self.cache_hits += unusual.reused == "cache_hit"
            self.coalesced += unusual.reused == "coalesced"
            self.retries += unusual.retries
            self.switched += unusual.switched
            self.hedged += unusual.hedged
            if unusual.error_kind is not None:
                self.errors[unusual.error_kind] = self.errors.get(unusual.error_kind, 0) + 1

    def add_use(self, usage: Usage) -> None:
        """Adds what one attempt used."""
        self.calls += 1
        self.input += usage.input_tokens
        self.output += usage.output_tokens
        if usage.cache_read_tokens:
            self.read += usage.cache_read_tokens
        if usage.cache_write_tokens:
            self.written += usage.cache_write_tokens
        if usage.reasoning_tokens:
            self.reasoning += usage.reasoning_tokens
        if usage.cost is None:
            self.unpriced += 1
        else:
            self.priced += 1
            self.cost += usage.cost

    def add_answers(self, answers: list[tuple[Usage, int, int | None]]) -> None:
        """Adds calls that one attempt each has answered: what it used, and the buckets of its durations."""
        for usage, latency, first_content in answers:
            self.add_call(latency, first_content, None)
            self.add_use(usage)

    def add_failure(self, kind: str) -> None:
        """Adds the failure of one attempt."""
        self.calls += 1
        self.attempt_errors[kind] = self.attempt_errors.get(kind, 0) + 1

    def merge(self, other: "CallTally", times: int = 1) -> None:
        """Adds the sums of another tally; -1 `times` takes them away, where they are part of these."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for mine, theirs in ((self.errors, other.errors), (self.attempt_errors, other.attempt_errors)):
            for kind, count in theirs.items():
                mine[kind] = mine.get(kind, 0) + times * count
        self.latency.merge(other.latency, times)
        self.first_content.merge(other.first_content, times)

    def sums(self) -> CallSums:
        """The sums as a value."""
        if not self.calls:
            return CallSums()
        tokens = (self.input, self.output, self.read, self.written, self.reasoning)
        return CallSums(
            requests=self.requests,
            answered=self.requests - self.cancelled - sum(self.errors.values()),
            cancelled=self.cancelled,
            errors={kind: count for kind, count in self.errors.items() if count},
            attempt_errors={kind: count for kind, count in self.attempt_errors.items() if count},
            retries=self.retries,
            switched=self.switched,
            hedged=self.hedged,
            cache_hits=self.cache_hits,
            coalesced=self.coalesced,
            usage=Usage(*tokens, None if self.unpriced else self.cost),
            cost=None if self.unpriced and not self.priced else self.cost,
            unpriced=self.unpriced,
            latency=_percentiles(self.latency),
            first_content=_percentiles(self.first_content),
        )


_NUMBERS = tuple(
    name
    for name in CallTally.__slots__
    if name not in ("seen", "unused", "errors", "attempt_errors", "latency", "first_content")
)


class NameTable:
    """Tallies by name in one dimension. Beyond `most` names the least used are added up in one."""

    def __init__(self, most: int) -> None:
        self.rows: dict[str, CallTally] = {}
        self.other, self.merged = CallTally(), 0
        self._least_used = LeastUsed(self.rows, most)

    def of(self, name: str) -> CallTally:
        """Tally of a name."""
        found = self.rows.get(name)
        if found is None:
            found = self.rows[name] = CallTally()
        return found

    def bound(self) -> None:
        """Adds up the least used names in `other`, where there are too many. No caller may hold a tally."""
        for name in self._least_used.going():
            self.other.merge(self.rows.pop(name))
            self.merged += 1

    def all_named(self) -> CallTally:
        """Sum over all names."""
        total = CallTally()
        for tally in (self.other, *self.rows.values()):
            total.merge(tally)
        return total

    def breakdown(self, total: CallTally) -> Breakdown:
        """The sums as a value. What has no name is the rest of the total: no call pays for adding it up."""
        ordered = sorted(self.rows.items(), key=lambda row: -row[1].requests)
        unnamed = CallTally()
        unnamed.merge(total)
        unnamed.merge(self.all_named(), -1)
        return Breakdown(
            rows={name: tally.sums() for name, tally in ordered},
            unnamed=unnamed.sums(),
            other=self.other.sums(),
            merged=self.merged,
        )


class CallTallies:
    """Tallies of all calls, by each dimension."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._tables = {name: NameTable(most) for name in DIMENSIONS}
        self._fresh: list[CallFigures] = []
        self._answers: list[tuple[Asked, str | None, Usage, float, float | None]] = []

    def add(self, figures: CallFigures) -> None:
        """Adds a call that has ended, or what one used after its end."""
        self._fresh.append(figures)
        if len(self._fresh) >= _FRESH:
            self._add_up()

    def add_answer(
        self, asked: Asked, conversation: str | None, usage: Usage, latency: float, first_content: float | None = None
    ) -> None:
        """Adds a call that its one attempt has answered: the same as `add`, in less time."""
        self._answers.append((asked, conversation, usage, latency, first_content))
        if len(self._answers) >= _FRESH:
            self._add_up()

    def report(self, by: Dimension | Iterable[Dimension] | None = None, unreadable: int = 0) -> Report:
        """The report so far, broken down by these dimensions; None: by all."""
        wanted = check_dimensions(by)
        self._add_up()
        total = self._tables["provider"].all_named()  # each call has a provider
        breakdowns = {f"by_{name}": self._tables[name].breakdown(total) for name in wanted}
        return Report(total=total.sums(), unreadable=unreadable, **breakdowns)

    def _add_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for figures in fresh:
            self._add(figures)
        self._add_up_answers()
        for table in self._tables.values():
            table.bound()

    def _add_up_answers(self) -> None:
        answers, self._answers = self._answers, []
        groups: dict[tuple[Asked, str | None], list[tuple[Usage, int, int | None]]] = {}
        for asked, conversation, usage, latency, first in answers:
            first_bucket = None if first is None else bucket_of(first, TWENTIETH)
            counted = (usage, bucket_of(latency, TWENTIETH), first_bucket)
            groups.setdefault((asked, conversation), []).append(counted)
        for ((provider, model, label), conversation), group in groups.items():
            tallies = self._of(provider, model) + self._named(label, conversation, None)
            if len(group) <= _ALONE:
                for tally in tallies:
                    tally.add_answers(group)
                continue
            together = CallTally()
            together.add_answers(group)
            for tally in tallies:
                tally.merge(together)

    def _add(self, figures: CallFigures) -> None:
        provider, model = figures.provider, figures.model
        side = None if figures.route is None else f"{figures.route}: {figures.side}"
        mine, named = self._of(provider, model), self._named(figures.label, figures.conversation, side)
        if figures.outcome != "late":
            latency = first_content = None
            if figures.outcome == "answered" and figures.reused is None and not figures.batched:
                latency = bucket_of(figures.latency, TWENTIETH)
                if figures.first_content is not None:
                    first_content = bucket_of(figures.first_content, TWENTIETH)
            unusual = None if latency is not None and not _has_detours(figures) else figures
            for tally in mine + named:
                tally.add_call(latency, first_content, unusual)
        for part in figures.used + figures.failures:
            asked = mine
            if part.provider != provider or part.model != model:
                asked = self._of(part.provider, part.model)
            for tally in asked + named:
                if isinstance(part, AttemptUse):
                    tally.add_use(part.usage)
                else:
                    tally.add_failure(part.kind)

    def _of(self, provider: str, model: str) -> list[CallTally]:
        tables = self._tables
        return [tables["provider"].of(provider), tables["model"].of(f"{provider}/{model}")]

    def _named(self, label: str | None, conversation: str | None, side: str | None) -> list[CallTally]:
        found, tables = [], self._tables
        if label is not None:
            found.append(tables["label"].of(label))
        if conversation is not None:
            found.append(tables["conversation"].of(conversation))
        if side is not None:
            found.append(tables["side"].of(side))
        return found


def check_dimensions(by: Dimension | Iterable[Dimension] | None) -> tuple[Dimension, ...]:
    """The dimensions that a report was asked for; InvalidRequest for one that there is not."""
    if by is None:
        return DIMENSIONS
    wanted: tuple[Dimension, ...] = (by,) if isinstance(by, str) else tuple(by)
    for name in wanted:
        if name not in DIMENSIONS:
            raise InvalidRequest(
                f"a report cannot be broken down by {name!r}", field="by", hint=f"one of {', '.join(DIMENSIONS)}"
            )
    return wanted


def _has_detours(figures: CallFigures) -> bool:
    return bool(figures.retries or figures.switched or figures.hedged)


def _percentiles(histogram: Histogram) -> Percentiles:
    p50, p90, p99 = map(histogram.quantile, (0.5, 0.9, 0.99))
    return Percentiles(count=histogram.total, p50=p50, p90=p90, p99=p99)
