"""OpenTelemetry spans with the gen_ai conventions, for connections that ask for them. They need `three-mode[otel]`.

No attribute holds the text of a conversation.
"""

from typing import Any, Protocol

from three_mode.errors import LLMError, MissingExtra, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse

# Names of the conventions for providers that have another name here.
_SYSTEMS = {"gemini": "gcp.gemini", "qwen": "alibaba", "claude-cli": "anthropic"}


class Span(Protocol):
    """Span of one call."""

    def finished(self, reply: LLMResponse) -> None:
        """Ends the span with the attributes of the reply."""

    def failed(self, error: BaseException) -> None:
        """Ends the span with the error."""


class CallTracer:
    """Begins a span for each call. `tracer` is an OpenTelemetry tracer; without one, the global provider's."""

    def __init__(self, tracer: Any = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            raise MissingExtra.of("OpenTelemetry", "otel") from None
        self._trace = trace
        self._tracer = tracer or trace.get_tracer("three_mode")

    def begin(self, request: LLMRequest, provider: str, model: str, request_id: str) -> Span:
        """Starts the span of one call."""
        asked = {
            "gen_ai.request.temperature": request.temperature,
            "gen_ai.request.top_p": request.top_p,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.seed": request.seed,
            "gen_ai.request.stop_sequences": list(request.stop) or None,
        }
        span = self._tracer.start_span(
            f"chat {model}",
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": _SYSTEMS.get(provider, provider),
                "gen_ai.request.model": model,
                "three_mode.request_id": request_id,
                **{name: value for name, value in asked.items() if value is not None},
            },
        )
        return _CallSpan(span, self._trace)


class _CallSpan:
    """Span of one call in OpenTelemetry."""

    def __init__(self, span: Any, trace: Any) -> None:
        self._span = span
        self._trace = trace

    def finished(self, reply: LLMResponse) -> None:
        self._span.set_attributes(
            {
                "gen_ai.provider.name": _SYSTEMS.get(reply.provider, reply.provider),
                "gen_ai.response.model": reply.model,
                "gen_ai.response.id": reply.request_id,
                "gen_ai.response.finish_reasons": [reply.finish_reason],
                "gen_ai.usage.input_tokens": reply.usage.input_tokens,
                "gen_ai.usage.output_tokens": reply.usage.output_tokens,
            }
        )
        for step in reply.steps:
            values = {"provider": step.provider, "model": step.model, "why": step.why}
            self._span.add_event(step.kind, {name: value for name, value in values.items() if value})
        self._span.end()

    def failed(self, error: BaseException) -> None:
        self._span.set_attribute("error.type", type(error).__name__)
        if isinstance(error, LLMError) and error.status:
            self._span.set_attribute("http.response.status_code", error.status)
        message = error.message if isinstance(error, ThreeModeError) else type(error).__name__
        self._span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, message))
        self._span.end()
