"""Spans of runs with tools: one for the run, and one for each tool that is executed.

invoke_agent               the run, where it is not inside an agent's invocation, which has a span already
  chat MODEL               each round
  execute_tool NAME        each tool; its own calls and asks are its children, also in other processes
"""

import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

from three_mode.handling import current
from three_mode.messages import LLMResponse, ToolCall, Usage
from three_mode.observe.invocations import AgentInvocation, count_for, count_tool
from three_mode.observe.span_content import json_text
from three_mode.observe.span_scope import attach_span, current_span, error_type, mark_failed, opentelemetry
from three_mode.observe.spans import CallTracer
from three_mode.tools.callable_tool import CallableTool
from three_mode.tools.tracing import ToolEnd

_RUN = {"gen_ai.operation.name": "invoke_agent"}


class RunTracer:
    """Begins the spans of runs, by the tracer of the connection's calls."""

    def __init__(self, calls: CallTracer) -> None:
        self._calls, self._trace = calls, opentelemetry()

    def begin_run(self) -> "TracedRun":
        """Starts the span of a run."""
        own = None
        if not (current.get().agent and self._trace.get_current_span().is_recording()):
            own = self._calls.tracer.start_span("invoke_agent", kind=self._trace.SpanKind.INTERNAL, attributes=_RUN)
        return TracedRun(self._calls, own, self._trace.SpanKind.INTERNAL)


class TracedRun:
    """One run, with a span of its own or inside another one."""

    def __init__(self, calls: CallTracer, own: Any, internal: Any) -> None:
        self._calls, self._own, self._internal = calls, own, internal
        self._called = AgentInvocation()
        self._began = time.perf_counter()

    def attach(self) -> None:
        """Make the run's span the parent of all that runs in this copy of a context."""
        if self._own is None:
            return
        count_for(self._called)
        if self._calls.spans:
            attach_span(self._own)

    @contextmanager
    def tool(self, tool: CallableTool, call: ToolCall) -> Generator[ToolEnd, None, None]:
        """Block in which a tool is executed."""
        count_tool()
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
        }
        span = self._calls.tracer.start_span(f"execute_tool {call.name}", kind=self._internal, attributes=attributes)
        if span.is_recording():
            span.set_attribute("gen_ai.tool.call.id", call.id)
            if tool.description:
                span.set_attribute("gen_ai.tool.description", tool.description)
            if self._calls.content:
                span.set_attribute("gen_ai.tool.call.arguments", json_text(call.arguments))
        began, failed, end = time.perf_counter(), None, ToolEnd()
        try:
            with current_span(span) if self._calls.spans else nullcontext():
                yield end
        except BaseException as error:
            failed = error_type(error)
            mark_failed(span, error)
            raise
        finally:
            if self._calls.content and failed is None and span.is_recording():
                span.set_attribute("gen_ai.tool.call.result", json_text(end.result))
            span.end()
            if self._calls.instruments is not None:
                self._calls.instruments.tool(attributes, time.perf_counter() - began, failed)

    def finished(self, reply: LLMResponse | None, usage: Usage, error: BaseException | None) -> None:
        """Ends the run's span: its last reply, the tokens of all rounds, and the error that ended it."""
        if self._own is None:
            return
        if self._own.is_recording():
            self._own.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
            self._own.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
            if reply is not None:
                self._own.set_attribute("gen_ai.response.finish_reasons", [reply.finish_reason])
        if error is not None:
            mark_failed(self._own, error)
        self._own.end()
        if self._calls.instruments is not None:
            seconds, failed = time.perf_counter() - self._began, None if error is None else error_type(error)
            self._calls.instruments.agent(_RUN, seconds, failed, self._called)
