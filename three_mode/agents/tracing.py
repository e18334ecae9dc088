"""Hooks for tracing. Free while nobody has set one; OpenTelemetry is an extra.

A trace id (W3C `traceparent`) travels with every message. A tracer makes a span for each message handled and puts its
identity into the messages sent from it.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from three_mode.agents.calls import Call
from three_mode.errors import MissingExtra


class Tracer(Protocol):
    def outgoing(self, call: Call, to: str, handler: str) -> Call:
        """The call with the trace id that a message sent from it carries."""
        ...

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[str]:
        """Around a handler; gives the trace id of the span."""
        ...


class OpenTelemetry:
    """Spans by OpenTelemetry's messaging conventions; payloads are never captured."""

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import propagate, trace
        except ImportError:
            raise MissingExtra.of("OpenTelemetry", "otel") from None
        self._trace, self._propagate = trace, propagate
        self._tracer = trace.get_tracer("three_mode.agents", tracer_provider=provider)

    def outgoing(self, call: Call, to: str, handler: str) -> Call:
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return replace(call, trace=carrier.get("traceparent", call.trace))

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[str]:
        raise NotImplementedError


_ = Any
