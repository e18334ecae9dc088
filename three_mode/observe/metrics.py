"""Metrics of calls: latency, speed and errors, by provider and model, in bounded memory.

`Metrics.check` compares them with limits: by default a p95 of 2 seconds and 1,000 tokens a second.
"""

from collections import Counter, deque
from collections.abc import Callable
from itertools import islice

from msgspec import Struct, field

from three_mode.errors import ThreeModeError
from three_mode.least_used import MOST, OTHERS, LeastUsed

KEPT = 2048  # newest samples kept of each kind
_NEWEST = 100  # samples that say what is usual


class Snapshot(Struct, frozen=True, kw_only=True):
    """Metrics of one model, or of all, at one moment. Times are in seconds; None: nothing was measured yet."""

    calls: int  #: calls, failed ones included
    errors: dict[str, int]  #: class of an error -> calls that failed with it
    error_rate: float  #: failed calls as a share of all, from 0 to 1
    p50: float | None  #: median latency
    p95: float | None  #: latency that 95 % of calls do not exceed
    p99: float | None  #: latency that 99 % of calls do not exceed
    first_content_p50: float | None  #: median time to the first content of streams
    tokens_per_second: float | None  #: mean output speed


class PerformanceCheck(Struct, frozen=True, kw_only=True):
    """Comparison of measured latency and speed with their limits."""

    p95: float | None  #: measured, in seconds; None: nothing was measured yet
    tokens_per_second: float | None  #: measured; None: nothing was measured yet
    p95_limit: float  #: most seconds
    tokens_limit: float  #: fewest tokens a second
    compliant: bool | None  #: whether all that was measured is within its limit; None where nothing was measured


class _Series(Struct, eq=False):
    calls: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    first: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    mean: float | None = None  # moving average of latencies, for routing: cheap to read
    seen: int = 0  # see LeastUsed
    unused: int = 0

    def add(self, latency: float) -> None:
        self.calls += 1
        self.latencies.append(latency)
        self.mean = latency if self.mean is None else 0.8 * self.mean + 0.2 * latency

    def merge(self, other: "_Series") -> None:
        """Adds all counts and samples of another series; the newest samples are kept."""
        self.calls += other.calls
        self.errors.update(other.errors)
        self.latencies += other.latencies
        self.first += other.first
        self.rates += other.rates


class Metrics:
    """Counts and latencies of calls. Percentiles are computed by `snapshot`, not by each call."""

    def __init__(self, most: int = MOST) -> None:
        """Keeps at most `most` models apart. Beyond that the longest unused models are added up by provider."""
        self._series: dict[tuple[str, str], _Series] = {}
        self._least_used = LeastUsed(self._series, most)
        self._forget_recorders: list[Callable[[], None]] = []

    def held_by(self, forget: Callable[[], None]) -> None:
        """Registers `forget`, which drops all functions that `recorder` gave; called before a series is removed."""
        self._forget_recorders.append(forget)

    def record(
        self,
        provider: str,
        model: str,
        latency: float,
        *,
        first_content: float | None = None,
        tokens_per_second: float | None = None,
    ) -> None:
        """Records a successful call. Times are in seconds."""
        series = self._of(provider, model)
        series.add(latency)
        if first_content is not None:
            series.first.append(first_content)
        if tokens_per_second is not None:
            series.rates.append(tokens_per_second)

    def recorder(self, provider: str, model: str) -> Callable[[float], None]:
        """Function that records the latency of a call to one model; cheaper than `record`."""
        return self._of(provider, model).add

    def failed(self, provider: str, model: str, error: ThreeModeError) -> None:
        """Records a failed call."""
        series = self._of(provider, model)
        series.calls += 1
        series.errors[type(error).__name__] += 1

    def failures(self) -> int:
        """How many calls failed."""
        return sum(series.errors.total() for series in list(self._series.values()))

    def latency(self, provider: str, model: str) -> float | None:
        """Moving average of the latencies of a model in seconds; None: nothing was measured yet."""
        series = self._series.get((provider, model))
        return series.mean if series is not None else None

    def usual(self, provider: str, model: str, streamed: bool = False) -> float | None:
        """Seconds that 9 of 10 of the newest calls of a model did not exceed; None: nothing was measured yet.

        `streamed`: to the first content of streams, where some were measured, instead of to the end.
        """
        series = self._series.get((provider, model))
        if series is None:
            return None
        newest = islice(reversed((series.first if streamed else ()) or series.latencies), _NEWEST)
        return percentile(sorted(newest), 0.90)

    def snapshot(self, provider: str | None = None, model: str | None = None) -> Snapshot:
        """Metrics of a provider, of a model, of both, or of all calls."""
        chosen = [
            series
            for (a_provider, a_model), series in list(self._series.items())
            if provider in (None, a_provider) and model in (None, a_model)
        ]
        calls = sum(series.calls for series in chosen)
        errors: Counter[str] = Counter()
        for series in chosen:
            errors.update(series.errors)
        latencies = sorted(value for series in chosen for value in series.latencies)
        first = sorted(value for series in chosen for value in series.first)
        rates = [value for series in chosen for value in series.rates]
        return Snapshot(
            calls=calls,
            errors=dict(errors),
            error_rate=sum(errors.values()) / calls if calls else 0.0,
            p50=percentile(latencies, 0.50),
            p95=percentile(latencies, 0.95),
            p99=percentile(latencies, 0.99),
            first_content_p50=percentile(first, 0.50),
            tokens_per_second=sum(rates) / len(rates) if rates else None,
        )

    def targets(self) -> list[tuple[str, str]]:
        """Provider and model of each series."""
        return [key for key in list(self._series) if OTHERS not in key]

    def check(self, p95_limit: float = 2.0, tokens_limit: float = 1000.0) -> PerformanceCheck:
        """Compares the p95 of latencies and the tokens a second of all calls with limits."""
        seen = self.snapshot()
        verdicts = [
            None if seen.p95 is None else seen.p95 <= p95_limit,
            None if seen.tokens_per_second is None else seen.tokens_per_second >= tokens_limit,
        ]
        known = [verdict for verdict in verdicts if verdict is not None]
        return PerformanceCheck(
            p95=seen.p95,
            tokens_per_second=seen.tokens_per_second,
            p95_limit=p95_limit,
            tokens_limit=tokens_limit,
            compliant=all(known) if known else None,
        )

    def _of(self, provider: str, model: str) -> _Series:
        series = self._series.get((provider, model))
        if series is None:
            self._bound()
            series = self._series[provider, model] = _Series()
        return series

    def _bound(self) -> None:
        """Merges the longest unused series by provider, or all into one if there are too many providers."""
        going = self._least_used.going()
        if not going:
            return
        for forget in self._forget_recorders:
            forget()
        few = len({provider for provider, _ in going}) <= len(going) // 2
        for key in going:
            gone, rest = self._series.pop(key), (key[0] if few else OTHERS, OTHERS)
            if rest not in self._series:
                self._series[rest] = _Series()
            self._series[rest].merge(gone)


def percentile(ordered: list[float], share: float) -> float | None:
    """Smallest of the values that a `share` of them, from 0 to 1, does not exceed."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
