"""Make a span the parent of what happens inside a block: of spans in this process, and of messages to other agents.

The bus carries a trace id (W3C `traceparent`) with each message. It takes the one of the call being handled, so that
this id changes along with OpenTelemetry's own context.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from three_mode.errors import MissingExtra, ThreeModeError
from three_mode.handling import HandledCall, current


def opentelemetry() -> Any:
    """OpenTelemetry's `trace` module; MissingExtra where it is not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        raise MissingExtra.of("OpenTelemetry", "otel") from None
    return trace


@contextmanager
def current_span(span: Any) -> Generator[None, None, None]:
    """Make `span` the current one. Begin and end of the block are in the same task."""
    from opentelemetry import context, trace

    token, mark = context.attach(trace.set_span_in_context(span)), None
    traceparent = traceparent_of(span)
    if traceparent:
        mark = current.set(with_trace(current.get(), traceparent))
    try:
        yield
    finally:
        if mark is not None:
            current.reset(mark)
        context.detach(token)


def attach_span(span: Any) -> None:
    """Make `span` the current one for all that runs in this copy of a context."""
    from opentelemetry import context, trace

    context.attach(trace.set_span_in_context(span))
    traceparent = traceparent_of(span)
    if traceparent:
        current.set(with_trace(current.get(), traceparent))


def traceparent_of(span: Any) -> str:
    """The id of a span as messages carry it; empty where nobody records it."""
    ids = span.get_span_context()
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{int(ids.trace_flags):02x}" if ids.is_valid else ""


def with_trace(call: HandledCall, trace: str) -> HandledCall:
    """The call being handled, with another trace id."""
    return HandledCall(call.agent, call.turn, call.deadline, trace, call.chain)


def error_type(error: BaseException) -> str:
    """The class of an error, which spans and metrics name."""
    return type(error).__name__


def mark_failed(span: Any, error: BaseException) -> None:
    """Set what a span says of an error. Texts of foreign exceptions may hold what was said, and are left out."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", error_type(error))
    words = error.message if isinstance(error, ThreeModeError) else error_type(error)
    span.set_status(Status(StatusCode.ERROR, words))
