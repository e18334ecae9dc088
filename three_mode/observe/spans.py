"""OpenTelemetry spans with the gen_ai conventions, where `three-mode[otel]` is installed and the connection asks for them.

The words of a conversation are in no attribute.
"""

from typing import Any, Protocol

from three_mode.errors import LLMError, MissingExtra, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse

# The names that the conventions have for providers that we call otherwise.
_SYSTEMS = {"gemini": "gcp.gemini", "qwen": "alibaba", "claude-cli": "anthropic"}


class Span(Protocol):
    """One call's span."""

    def finished(self, reply: LLMResponse) -> None: ...
    def failed(self, error: BaseException) -> None: ...


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
        return _Begun(span, self._trace)


class _Begun:
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
            told = {"provider": step.provider, "model": step.model, "why": step.why}
            self._span.add_event(step.kind, {name: value for name, value in told.items() if value})
        self._span.end()

    def failed(self, error: BaseException) -> None:
        self._span.set_attribute("error.type", type(error).__name__)
        if isinstance(error, LLMError) and error.status:
            self._span.set_attribute("http.response.status_code", error.status)
        said = error.message if isinstance(error, ThreeModeError) else type(error).__name__
        self._span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, said))
        self._span.end()
