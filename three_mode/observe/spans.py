"""OpenTelemetry spans and metrics of calls to models, with the gen_ai conventions. They need `three-mode[otel]`.

    span of a call     chat MODEL · text_completion MODEL · embeddings MODEL
    parent             the current span: of the program, of an agent's invocation, of a run with tools
    children           what the call leads to: in this process, and at the agent that answers

No attribute holds the text of a conversation, unless `content` asks for it.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import urlsplit

from three_mode.errors import LLMError
from three_mode.messages import (
    Chunk,
    Embedded,
    Image,
    LLMRequest,
    LLMResponse,
    Reranked,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
)
from three_mode.observe.instruments import Instruments
from three_mode.observe.invocations import count_model
from three_mode.observe.span_content import content_of_reply, content_of_request
from three_mode.observe.span_scope import current_span, error_type, mark_failed, opentelemetry

# Names of the conventions for providers that have another name here.
_SYSTEMS = {"gemini": "gcp.gemini", "qwen": "alibaba", "claude-cli": "anthropic"}
_PORTS = {"https": 443, "http": 80, "grpcs": 443, "grpc": 80}
_OUTPUT = (TextDelta, ThinkingDelta, ToolDelta)  # chunks that say something
# Settings of a request that travel in `extra`, and the type that the conventions give them.
_EXTRA = {"top_k": int, "frequency_penalty": float, "presence_penalty": float}


class CallTracer:
    """Begins a span for each call. `tracer` is an OpenTelemetry tracer; without one, the global provider's."""

    def __init__(
        self,
        tracer: Any = None,
        *,
        spans: bool = True,
        instruments: Instruments | None = None,
        content: bool = False,
        address: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`spans=False` leaves the metrics alone. `address` gives the URL of a provider, None for what has none."""
        trace = opentelemetry()
        self.spans, self.content, self.instruments = spans, content, instruments
        self.tracer = (tracer or trace.get_tracer("three_mode")) if spans else trace.NoOpTracer()
        self._kind, self._address = trace.SpanKind.CLIENT, address

    def begin(
        self, request: LLMRequest, provider: str, model: str, request_id: str, streamed: bool = False
    ) -> "CallSpan":
        """Starts the span of one call."""
        count_model()
        operation = "chat" if request.prompt is None else "text_completion"
        attributes = self.named(operation, provider, model)
        span = self.tracer.start_span(f"{operation} {model}", kind=self._kind, attributes=attributes)
        if span.is_recording():
            span.set_attribute("three_mode.request_id", request_id)
            span.set_attributes(_asked(request, streamed))
            if self.content:
                span.set_attributes(content_of_request(request))
        return CallSpan(self, span, attributes, request, streamed)

    def begin_single(
        self, operation: str, provider: str, model: str, request_id: str, dimensions: int | None
    ) -> "SingleSpan":
        """Starts the span of a call for vectors ("embeddings"), or for documents in order ("rerank")."""
        attributes = self.named(operation, provider, model)
        span = self.tracer.start_span(f"{operation} {model}", kind=self._kind, attributes=attributes)
        if span.is_recording():
            span.set_attribute("three_mode.request_id", request_id)
            if dimensions is not None:
                span.set_attribute("gen_ai.embeddings.dimension.count", dimensions)
        return SingleSpan(self, span, attributes)

    def named(self, operation: str, provider: str, model: str) -> dict[str, Any]:
        """Attributes that say what is called."""
        return {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _SYSTEMS.get(provider, provider),
            "gen_ai.request.model": model,
            **_server(self._address(provider)),
        }


class _Spanned:
    """A call with its span, which is the current one inside `active`."""

    def __init__(self, owner: CallTracer, span: Any, attributes: dict[str, Any]) -> None:
        self._owner, self._span, self._attributes = owner, span, attributes
        self._began = time.perf_counter()

    def active(self) -> AbstractContextManager[None]:
        """Block inside which the span is the parent of all that happens."""
        return current_span(self._span) if self._owner.spans else nullcontext()

    def _seconds(self) -> float:
        return time.perf_counter() - self._began


class CallSpan(_Spanned):
    """Span of one call to a model, and its metrics."""

    def __init__(
        self, owner: CallTracer, span: Any, attributes: dict[str, Any], request: LLMRequest, streamed: bool
    ) -> None:
        super().__init__(owner, span, attributes)
        self._request, self._streamed = request, streamed
        self._gaps = array("d")  # seconds from each chunk to the next
        self._chunk_at: float | None = None  # when the last one came

    def came(self, batch: Sequence[Chunk]) -> None:
        """Notes when chunks of a stream came. Those that came at once have no time between them."""
        if self._owner.instruments is None:
            return
        now = time.perf_counter()
        for chunk in batch:
            if type(chunk) in _OUTPUT:
                if self._chunk_at is not None:
                    self._gaps.append(now - self._chunk_at)
                self._chunk_at = now

    def finished(self, reply: LLMResponse, first_content: float | None = None) -> None:
        """Ends the span with what the reply says. `first_content`: seconds to the first content of a stream."""
        self._answered_by(reply)
        if self._span.is_recording():
            self._span.set_attributes(_answered(reply))
            self._first_chunk(first_content)
            if self._owner.content:
                self._span.set_attributes(content_of_reply(reply))
            for step in reply.steps:
                values = {"provider": step.provider, "model": step.model, "why": step.why}
                self._span.add_event(step.kind, {name: value for name, value in values.items() if value})
        self._span.end()
        self._measure(reply.usage, None, first_content)

    def failed(
        self, error: BaseException, reply: LLMResponse | None = None, first_content: float | None = None
    ) -> None:
        """Ends the span with the error. `reply` is what came before it."""
        if reply is not None:
            self._answered_by(reply)
        if self._span.is_recording():
            if reply is not None:
                self._span.set_attributes({**_answered(reply), "gen_ai.response.finish_reasons": ["error"]})
                self._first_chunk(first_content)
            if isinstance(error, LLMError) and error.status:
                self._span.set_attribute("http.response.status_code", error.status)
            mark_failed(self._span, error)
        self._span.end()
        self._measure(reply.usage if reply is not None else None, error_type(error), first_content)

    def _answered_by(self, reply: LLMResponse) -> None:
        """Note who answered: with fallback it need not be who was asked."""
        if reply.provider:
            asked = self._attributes
            named = self._owner.named(asked["gen_ai.operation.name"], reply.provider, asked["gen_ai.request.model"])
            self._attributes = {**named, "gen_ai.response.model": reply.model}
            self._span.set_attributes(self._attributes)

    def _first_chunk(self, seconds: float | None) -> None:
        if self._streamed and seconds is not None:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)

    def _measure(self, usage: Usage | None, error: str | None, first_content: float | None) -> None:
        instruments = self._owner.instruments
        if instruments is None:
            return
        instruments.inference(self._attributes, self._seconds(), usage, error, _modality(self._request))
        if self._streamed and first_content is not None:
            instruments.first_chunk(self._attributes, first_content)
        instruments.output_chunks(self._attributes, self._gaps)


class SingleSpan(_Spanned):
    """Span of one call for vectors, or for documents in order, and its metrics."""

    def finished(self, answer: Embedded | Reranked) -> None:
        """Ends the span with what came."""
        if answer.model:
            self._attributes = {**self._attributes, "gen_ai.response.model": answer.model}
        if self._span.is_recording():
            self._span.set_attributes({**self._attributes, "gen_ai.usage.input_tokens": answer.usage.input_tokens})
        self._end(answer.usage, None)

    def failed(self, error: BaseException) -> None:
        """Ends the span with the error."""
        mark_failed(self._span, error)
        self._end(None, error_type(error))

    def _end(self, usage: Usage | None, error: str | None) -> None:
        self._span.end()
        instruments = self._owner.instruments
        if instruments is None:
            return
        if self._attributes["gen_ai.operation.name"] == "embeddings":
            instruments.embeddings(self._attributes, self._seconds(), usage, error)
        else:
            instruments.operation(self._attributes, self._seconds(), error)


def _asked(request: LLMRequest, streamed: bool) -> dict[str, Any]:
    """Attributes of what a request asks for."""
    asked: dict[str, Any] = {
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.stop_sequences": list(request.stop) or None,
        "gen_ai.request.stream": streamed or None,
        "gen_ai.request.reasoning.level": request.reasoning.effort if request.reasoning is not None else None,
        "gen_ai.output.type": "json" if request.response_format is not None else None,
        "gen_ai.conversation.id": _text(request.metadata.get("conversation")),
    }
    for name, kind in _EXTRA.items():
        value = request.extra.get(name)
        if isinstance(value, kind | int) and not isinstance(value, bool):
            asked[f"gen_ai.request.{name}"] = value
    return {name: value for name, value in asked.items() if value is not None}


def _answered(reply: LLMResponse) -> dict[str, Any]:
    """Attributes of what a reply says about itself."""
    usage = reply.usage
    said: dict[str, Any] = {
        "gen_ai.response.model": reply.model,
        "gen_ai.response.id": str(reply.extra.get("provider_request_id") or reply.request_id),
        "gen_ai.response.finish_reasons": [reply.finish_reason],
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    parts = {
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    return {**said, **{name: tokens for name, tokens in parts.items() if tokens}}


def _server(url: str | None) -> dict[str, Any]:
    """Attributes of the server at a URL."""
    if not url:
        return {}
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if parts.hostname is None:
        return {}
    return {"server.address": parts.hostname} | ({} if port is None else {"server.port": port})


def _modality(request: LLMRequest) -> str:
    """Whether all tokens are of text."""
    for message in request.messages:
        if type(message.content) is not str and any(type(part) is Image for part in message.parts):
            return "unknown"
    return "text"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
