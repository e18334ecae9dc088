"""Tracing hooks: `Tracer`, and one for OpenTelemetry, which is an extra. Without a tracer they cost nothing.

A trace id (W3C `traceparent`) travels with every message. A tracer makes a span around each message handled, and gives
the identity of the current span to the messages sent from it.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol

from three_mode.agents.handlers.declare import HandlerKind, Spec
from three_mode.errors import ConfigurationError, MissingExtra


class Tracer(Protocol):
    """Interface of a tracer: one for each process, made by the function that `OrchestratorOptions.tracer` names.

    A tracer may have two more methods. `invoking`, with the arguments of `handling`, is then called in its place for
    messages whose sender waits for an answer. `connection_options` gives fields of `Observing` for the connections of
    its process. `three_mode.observe.AgentTracer` has both.
    """

    def outgoing(self, to: str, handler: str) -> str:
        """Return the trace id for a message that is sent now; empty where there is no span."""
        ...

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[Any]:
        """Return the context manager around a handler. `trace` is the id that came with the message, or empty."""
        ...


def load_tracer(place: str) -> Tracer:
    """Make a tracer by calling `module:name`."""
    module, _, name = place.partition(":")
    try:
        tracer: Tracer = getattr(import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"no tracer at {place!r}: {error}", hint="give module:name") from None
    return tracer


def traced(tracer: Tracer, spec: Spec, agent: str, trace: str, sender: str, asked: bool = False) -> Callable[..., Any]:
    """Return the handler with a span around it: a function of the same kind. `asked`: whether its sender waits."""
    function = spec.function
    begin = getattr(tracer, "invoking", tracer.handling) if asked else tracer.handling

    def span() -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = begin(agent, spec.name, trace, sender)
        return context

    def plain(*args: Any, **kwargs: Any) -> Any:
        with span():
            return function(*args, **kwargs)

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with span():
            return await function(*args, **kwargs)

    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        with span():
            async for part in function(*args, **kwargs):
                yield part

    kinds: dict[HandlerKind, Callable[..., Any | Coroutine[Any, Any, Any]]] = {
        HandlerKind.PLAIN: plain,
        HandlerKind.COROUTINE: coroutine,
        HandlerKind.STREAM: stream,
    }
    return kinds[spec.kind]


class OpenTelemetry:
    """Tracer with spans by OpenTelemetry's messaging conventions. Contents of messages are never captured."""

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import propagate, trace
        except ImportError:
            raise MissingExtra.of("OpenTelemetry", "otel") from None
        self._propagate, self._consumer = propagate, trace.SpanKind.CONSUMER
        self._tracer = trace.get_tracer("three_mode.agents", tracer_provider=provider)

    def outgoing(self, to: str, handler: str) -> str:
        """Return the `traceparent` of the current span."""
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return carrier.get("traceparent", "")

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[Any]:
        """Start a consumer span for a handler, as a child of the message's span."""
        attributes = {
            "messaging.system": "three_mode",
            "messaging.operation.type": "process",
            "messaging.destination.name": agent,
            "messaging.client.id": sender,
            "three_mode.handler": handler,
        }
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            f"process {agent.partition('/')[0]}.{handler}",
            context=self.parent_of(trace),
            kind=self._consumer,
            attributes=attributes,
        )
        return span

    def parent_of(self, trace: str) -> Any:
        """Return the context of the span whose id came with a message; None where there was none."""
        return self._propagate.extract({"traceparent": trace}) if trace else None
