"""Values of a benchmark: rows of samples, targets, and verdicts. No I/O."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

FLOOR = "the kernel alone"
"""Subject that does what the kernel must do for all others; tables say how many times as long each of them takes."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Samples of one subject in one case. `higher_is_better` for rates; a count or a size is a single sample."""

    case: str
    subject: str
    unit: str
    samples: Sequence[float]
    higher_is_better: bool = False
    note: str = ""
    curve: str = ""
    """Name of the curve, where the row is a point of one."""
    at: float = 0.0
    """Place on the curve: the number of what grows."""

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def p95(self) -> float:
        return quantiles(self.samples, n=20)[-1] if len(self.samples) > 1 else self.samples[0]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A peer that could not take part, and how to get it."""

    case: str
    subject: str
    how_to_get: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """Bound of a subject's median: of its ratio to the median of a peer, or without a peer of the median itself."""

    case: str
    subject: str
    peer: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    peer_case: str | None = None
    """Case of the peer's row, if it is not the same (as in growth from 1 to 512)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target with the measured value; `met` is None where the subject or the peer is missing."""

    target: Target
    value: float | None
    met: bool | None


@dataclass(frozen=True)
class Context:
    """Settings of a run: how thorough it is, and where its progress goes."""

    quick: bool = False
    progress: Callable[[str], None] = lambda _: None

    def rounds(self, full: int, least: int = 3) -> int:
        """Returns the number of rounds: `full`, or a tenth of it in a quick run, and at least `least`."""
        return max(least, full // 10) if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark. `run` yields rows as they come, so that a table can grow while it runs."""

    summary: str
    run: Callable[[Context], Iterable[Row | Missing]]
    targets: Sequence[Target] = ()
    notes: str = ""
    """Limits of the figures; printed under the table."""


@dataclass(kw_only=True)
class Result:
    """One run of one benchmark."""

    name: str
    summary: str
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    targets: Sequence[Target] = ()
    notes: str = ""
    seconds: float = 0.0
    """Duration of the run."""

    def row(self, case: str, subject: str) -> Row | None:
        return next((row for row in self.rows if (row.case, row.subject) == (case, subject)), None)

    def verdicts(self) -> list[Verdict]:
        return [self._verdict(target) for target in self.targets]

    def _verdict(self, target: Target) -> Verdict:
        ours = self.row(target.case, target.subject)
        theirs = self.row(target.peer_case or target.case, target.peer or target.subject)
        relative = target.peer is not None or target.peer_case is not None
        if ours is None or (relative and theirs is None):
            return Verdict(target=target, value=None, met=None)
        value = ours.median / theirs.median if relative and theirs is not None and theirs.median else ours.median
        met = (target.at_most is None or value <= target.at_most) and (
            target.at_least is None or value >= target.at_least
        )
        return Verdict(target=target, value=value, met=met)


@dataclass(frozen=True)
class Headline:
    """A figure for the first page: a target's, in words."""

    what: str
    beside: str
    benchmark: str
    case: str
    subject: str
    peer: str | None
