"""What traces a run with tools: `three_mode.observe.run_spans` has one for OpenTelemetry."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from three_mode.messages import LLMResponse, ToolCall, Usage
from three_mode.tools.callable_tool import CallableTool


class ToolEnd:
    """Where the block that executes a tool puts its result."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        self.result: Any = None


class RunSpan(Protocol):
    """Span of one run."""

    def attach(self) -> None:
        """Make it the parent of all that runs in this copy of a context."""

    def tool(self, tool: CallableTool, call: ToolCall) -> AbstractContextManager[ToolEnd]:
        """Block in which a tool is executed."""

    def finished(self, reply: LLMResponse | None, usage: Usage, error: BaseException | None) -> None:
        """End it."""


class RunTracing(Protocol):
    """Begins the spans of runs."""

    def begin_run(self) -> RunSpan:
        """Begin the span of one run."""
