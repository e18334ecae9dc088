"""Tracer of agents with OpenTelemetry's gen_ai conventions, for every process of an orchestrator.

invoke_agent GROUP      an agent is asked: its parent is the span of who asks, in whatever process
  chat MODEL            what it asks of models, by `self.llm`
  execute_tool NAME     what a model calls for it
process GROUP.HANDLER   a message that nobody waits for: told or broadcast, by the conventions of messaging
"""

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from three_mode.agents.handlers.tracing import OpenTelemetry
from three_mode.observe.instruments import Instruments
from three_mode.observe.invocations import AgentInvocation, invoked
from three_mode.observe.span_scope import current_span, error_type, mark_failed, opentelemetry


class AgentTracer:
    """Traces agents, and the calls of their connections: `OrchestratorOptions(tracer="three_mode.observe:AgentTracer")`

    A function of your own may set up exporters and return one, in each process.
    """

    def __init__(
        self, tracer_provider: Any = None, meter_provider: Any = None, *, content: bool = False, metrics: bool = True
    ) -> None:
        """Without providers the global ones. `content`: whether spans of calls and tools hold what was said;
        `metrics`: whether there are metrics too."""
        trace = opentelemetry()
        self._messages = OpenTelemetry(tracer_provider)
        self._tracer = trace.get_tracer("three_mode", tracer_provider=tracer_provider)
        self._internal, self._content, self._meter = trace.SpanKind.INTERNAL, content, None
        self._instruments: Instruments | None = None
        if metrics:
            from opentelemetry.metrics import get_meter

            self._meter = get_meter("three_mode", meter_provider=meter_provider)
            self._instruments = Instruments(self._meter)

    def outgoing(self, to: str, handler: str) -> str:
        """Return the `traceparent` of the current span."""
        return self._messages.outgoing(to, handler)

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[Any]:
        """Return the span of a message that nobody waits for."""
        return self._messages.handling(agent, handler, trace, sender)

    @contextmanager
    def invoking(self, agent: str, handler: str, trace: str, sender: str) -> Generator[None, None, None]:
        """Return the span of a message whose sender waits for the answer."""
        named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent.partition("/")[0]}
        span = self._tracer.start_span(
            f"invoke_agent {named['gen_ai.agent.name']}",
            context=self._messages.parent_of(trace),
            kind=self._internal,
            attributes={**named, "three_mode.agent": agent, "three_mode.handler": handler, "three_mode.sender": sender},
        )
        began, failed, called = time.perf_counter(), None, AgentInvocation()
        try:
            with current_span(span), invoked(called):
                yield
        except GeneratorExit:  # the reader of a stream left
            raise
        except BaseException as error:
            failed = error_type(error)
            mark_failed(span, error)
            raise
        finally:
            span.end()
            if self._instruments is not None:
                self._instruments.agent(named, time.perf_counter() - began, failed, called)

    def connection_options(self) -> dict[str, Any]:
        """Fields of `Observing` for connections of this process, so that their calls are in the same traces."""
        return {
            "spans": True,
            "tracer": self._tracer,
            "span_content": self._content,
            "metrics": self._instruments is not None,
            "meter": self._meter,
        }
