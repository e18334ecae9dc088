"""OpenTelemetry's own exporters, in memory, and what they got."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from three_mode.connection import Observing


class Traces:
    """Spans and metrics of one program."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider, self.meters = TracerProvider(), MeterProvider([self._reader])
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.tracer, self.meter = self.provider.get_tracer("test"), self.meters.get_meter("test")

    def observing(self, **more: Any) -> Observing:
        """Options of a connection whose calls are traced and measured."""
        given = {"spans": True, "tracer": self.tracer, "metrics": True, "meter": self.meter, **more}
        return Observing(**given)

    def spans(self) -> Sequence[ReadableSpan]:
        """All spans that have ended, in the order of their ends."""
        return self._spans.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (span,) = (span for span in self.spans() if span.name == name)
        return span

    def points(self) -> dict[str, list[HistogramDataPoint | NumberDataPoint]]:
        """The data points of each metric."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found.setdefault(metric.name, []).extend(metric.data.data_points)
        return found


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether a span has this parent, in the same trace."""
    assert child.context is not None
    assert parent.context is not None
    same = child.context.trace_id == parent.context.trace_id
    return same and child.parent is not None and child.parent.span_id == parent.context.span_id
