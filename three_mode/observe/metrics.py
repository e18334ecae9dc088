"""Latency, speed and errors, by provider and model, in bounded memory; and the check of the seed: p95 within 2 s, above
1,000 tokens a second.
"""

from collections import Counter, deque
from collections.abc import Callable

from msgspec import Struct, field

from three_mode.errors import ThreeModeError
from three_mode.least_used import MOST, OTHERS, LeastUsed

KEPT = 2048  # the newest samples of each kind


class Snapshot(Struct, frozen=True, kw_only=True):
    """What is known of one model, or of all. None: nothing was measured yet. Times in seconds."""

    calls: int
    errors: dict[str, int]
    error_rate: float
    p50: float | None
    p95: float | None
    p99: float | None
    first_content_p50: float | None
    tokens_per_second: float | None


class PerformanceCheck(Struct, frozen=True, kw_only=True):
    """Whether what was measured is within the limits; None where nothing was measured."""

    p95: float | None
    tokens_per_second: float | None
    p95_limit: float
    tokens_limit: float
    compliant: bool | None


class _Series(Struct, eq=False):
    calls: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    first: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    mean: float | None = None  # moving, for routing: cheap to read
    seen: int = 0
    unused: int = 0

    def add(self, latency: float) -> None:
        self.calls += 1
        self.latencies.append(latency)
        self.mean = latency if self.mean is None else 0.8 * self.mean + 0.2 * latency

    def take(self, other: "_Series") -> None:
        """All that the other one has; of samples, the newest."""
        self.calls += other.calls
        self.errors.update(other.errors)
        self.latencies += other.latencies
        self.first += other.first
        self.rates += other.rates


class Metrics:
    """`record` after each call. Percentiles are worked out when somebody asks."""

    def __init__(self, most: int = MOST) -> None:
        """`most` are the models that are told apart at a time. Where there are more, the longest unused count for their provider alone."""
        self._series: dict[tuple[str, str], _Series] = {}
        self._least_used = LeastUsed(self._series, most)
        self._holders: list[Callable[[], None]] = []

    def held_by(self, forget: Callable[[], None]) -> None:
        """`forget` lets go of all recorders that somebody holds: called before any are forgotten here."""
        self._holders.append(forget)

    def record(
        self,
        provider: str,
        model: str,
        latency: float,
        *,
        first_content: float | None = None,
        tokens_per_second: float | None = None,
    ) -> None:
        series = self._of(provider, model)
        series.add(latency)
        if first_content is not None:
            series.first.append(first_content)
        if tokens_per_second is not None:
            series.rates.append(tokens_per_second)

    def recorder(self, provider: str, model: str) -> Callable[[float], None]:
        """`record` for one of them, where there is only a latency to record."""
        return self._of(provider, model).add

    def failed(self, provider: str, model: str, error: ThreeModeError) -> None:
        series = self._of(provider, model)
        series.calls += 1
        series.errors[type(error).__name__] += 1

    def latency(self, provider: str, model: str) -> float | None:
        series = self._series.get((provider, model))
        return series.mean if series is not None else None

    def snapshot(self, provider: str | None = None, model: str | None = None) -> Snapshot:
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
        return [key for key in list(self._series) if OTHERS not in key]

    def check(self, p95_limit: float = 2.0, tokens_limit: float = 1000.0) -> PerformanceCheck:
        """The seed's demand, as data."""
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
        """Where there are too many, the longest unused become one for each provider, or one if those are too many too."""
        going = self._least_used.going()
        if not going:
            return
        for forget in self._holders:
            forget()
        few = len({provider for provider, _ in going}) <= len(going) // 2
        for key in going:
            gone, rest = self._series.pop(key), (key[0] if few else OTHERS, OTHERS)
            if rest not in self._series:
                self._series[rest] = _Series()
            self._series[rest].take(gone)


def percentile(ordered: list[float], share: float) -> float | None:
    """The smallest value that so large a share of all does not exceed."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
