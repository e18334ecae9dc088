"""Performance check of MRC's document, over the metrics of a connection."""

from collections import deque

from three_mode.observe.metrics import KEPT, Metrics


class PerformanceMonitor:
    """Comparison of latency and speed with the document's limits: a p95 of 2 seconds, 1,000 tokens a second."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = Metrics() if metrics is None else metrics
        self._rates: deque[float] = deque(maxlen=KEPT)

    def record_request_timing(self, response_time: float, provider: str) -> None:
        """Records a call that the connection does not know of."""
        self._metrics.record(provider, "", response_time)

    def record_streaming_rate(self, tokens_per_second: float) -> None:
        """Records the speed of a stream that the connection does not know of."""
        self._rates.append(tokens_per_second)

    def get_95th_percentile_response_time(self) -> float:
        """Seconds that 95 % of the calls did not exceed; 0.0: nothing was measured yet."""
        return self._metrics.snapshot().p95 or 0.0

    def is_performance_compliant(self) -> bool:
        """Whether both limits are kept. Without any stream the speed is 0, which is too slow."""
        check = self._metrics.check()
        rates = [*self._rates, *([check.tokens_per_second] if check.tokens_per_second is not None else [])]
        speed = sum(rates) / len(rates) if rates else 0.0
        return (check.p95 or 0.0) <= check.p95_limit and speed >= check.tokens_limit
