"""Counters of the endpoint, in Prometheus's text format. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from three_mode.messages import Usage

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
KINDS = ("input", "output", "cached")  # of tokens
# A label is a time series for ever: models beyond these share one, so that a client cannot make them without end.
MOST_MODELS = 200
FRESH = 256  # answers that are added up together


class EndpointMetrics:
    """What `/metrics` says."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._tokens: dict[str, list[int]] = {}  # of a model: those of each of KINDS
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._models: set[str] = set()
        # Answers that are not in the sums yet: a batch takes a fraction of the time of adding each as it comes.
        self._fresh: list[tuple[str, str, Usage, float]] = []

    def answered(self, route: str, model: str, usage: Usage, seconds: float) -> None:
        """A request has its whole answer: `used` and `finished`, in less time."""
        self._fresh.append((route, model, usage, seconds))
        if len(self._fresh) >= FRESH:
            self._add_up()

    def _add_up(self) -> None:
        fresh, self._fresh = self._fresh, []
        for route, model, usage, seconds in fresh:
            self.used(model, usage)
            self.finished(route, model, 200, seconds)

    def finished(self, route: str, model: str, status: int, seconds: float) -> None:
        if self._fresh:
            self._add_up()  # a model is known by name once it has answered
        self._requests[route, self._label(model, status), status] += 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(BUCKETS) + 1)
            self._seconds[route] = 0.0
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def used(self, model: str, usage: Usage) -> None:
        if self._fresh:
            self._add_up()
        label = self._label(model, 200)
        tokens = self._tokens.get(label)
        if tokens is None:
            tokens = self._tokens[label] = [0] * len(KINDS)
        tokens[0] += usage.input_tokens
        tokens[1] += usage.output_tokens
        tokens[2] += usage.cache_read_tokens

    def _label(self, model: str, status: int) -> str:
        if model in self._models:
            return model
        if status >= 400 or len(self._models) >= MOST_MODELS:
            return "other"  # a model that never answered may be any text a client sent
        self._models.add(model)
        return model

    def text(self, readers: int, dropped: int) -> bytes:
        self._add_up()
        return ("\n".join(self._lines(readers, dropped)) + "\n").encode()

    def _lines(self, readers: int, dropped: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests answered.")
        for (route, model, status), count in sorted(self._requests.items()):
            labels = f'route="{route}",model="{_escaped(model)}",status="{status}"'
            yield f"three_mode_requests_total{{{labels}}} {count}"
        yield from _head("request_seconds", "histogram", "Time from the request's head to the answer's end.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), buckets, strict=True):
                total += count
                yield f'three_mode_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'three_mode_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'three_mode_request_seconds_count{{route="{route}"}} {total}'
        yield from _head("tokens_total", "counter", "Tokens by model and kind.")
        for model, tokens in sorted(self._tokens.items()):
            for kind, count in zip(KINDS, tokens, strict=True):
                yield f'three_mode_tokens_total{{model="{_escaped(model)}",kind="{kind}"}} {count}'
        yield from _head("requests_in_flight", "gauge", "Requests being answered.")
        yield f"three_mode_requests_in_flight {self.in_flight}"
        yield from _head("event_readers", "gauge", "WebSockets that read events.")
        yield f"three_mode_event_readers {readers}"
        yield from _head("events_dropped_total", "counter", "Events that slow readers lost.")
        yield f"three_mode_events_dropped_total {dropped}"


def _head(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP three_mode_{name} {said}"
    yield f"# TYPE three_mode_{name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
