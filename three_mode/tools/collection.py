"""`Tools`: what a model may call in a run, and the limits on its calls."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import force_setattr

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from three_mode.messages import Tool, ToolCall
from three_mode.tools.callable_tool import CallableTool, checked_name
from three_mode.tools.function import FunctionTool
from three_mode.tools.paging import READ_MORE, ReadMore

if TYPE_CHECKING:
    from three_mode.mcp.client.options import McpOptions
    from three_mode.tools.mcp_tools import McpTools

#: Decides about one call before it runs: True, or False or the reason why not, which the model reads.
Approve = Callable[[ToolCall], bool | str | Awaitable[bool | str]]


class _Limits(FrozenOptions, frozen=True, kw_only=True):
    """The options of `Tools`, which are set by name."""

    #: asked before each call, one call after the other; False or a text (the reason) refuses it. A plain function runs
    #: on a thread. None: all calls run
    approve: Approve | None = None
    at_once: int = 8  #: most calls that run side by side; the others of a reply wait
    each_within: float | None = 60.0  #: seconds for each call; None: what the run has left
    result_limit: int = 20_000  #: most characters of a result that the model reads; a longer one is cut, with a note
    pages: bool = False  #: whether the model may read on in a result that was cut, by a tool `read_more` of the run's
    most_calls: int = 128  #: most calls of one reply that run; the rest get a result that says so


class Tools(_Limits, frozen=True, kw_only=False, dict=True):
    """Tools for a run: `Tools([get_time, scouts[7].tool(Scout.score)], at_once=4)`.

    A typed function becomes a `FunctionTool`. Two tools of one name are an error.
    """

    tools: tuple[CallableTool, ...] = ()  #: functions, or objects that are a `CallableTool`

    if TYPE_CHECKING:
        # It holds tools; its constructor also takes functions, which `__post_init__` makes tools of.
        def __init__(
            self,
            tools: Iterable[CallableTool | Callable[..., Any]] = (),
            *,
            approve: Approve | None = None,
            at_once: int = 8,
            each_within: float | None = 60.0,
            result_limit: int = 20_000,
            pages: bool = False,
            most_calls: int = 128,
        ) -> None: ...

    def __post_init__(self) -> None:
        force_setattr(self, "tools", tuple(as_tool(each) for each in _listed(self.tools)))
        for name in ("at_once", "result_limit", "most_calls"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.each_within is not None and not self.each_within > 0:
            raise ConfigurationError(f"each_within is above 0, not {self.each_within}")
        if len(self.by_name) < len(self.tools):
            names = [tool.name for tool in self.tools]
            double = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(
                f"two tools have the name {double!r}", hint="give one of them another: FunctionTool(f, name=...)"
            )
        if self.pages and not isinstance(self.by_name.get(READ_MORE), ReadMore | None):
            raise ConfigurationError(
                f"with pages=True the run has a tool {READ_MORE!r} of its own", hint="rename yours"
            )

    @cached_property
    def by_name(self) -> dict[str, CallableTool]:
        """Name -> tool."""
        return {tool.name: tool for tool in self.tools}

    @cached_property
    def specs(self) -> tuple[Tool, ...]:
        """The tools as a request describes them to a model."""
        return tuple(Tool(name=tool.name, description=tool.description, parameters=tool.schema) for tool in self.tools)

    def plus(self, *more: CallableTool | Callable[..., Any]) -> "Tools":
        """These options with more tools."""
        added: tuple[Any, ...] = more
        return replace(self, tools=(*self.tools, *added))

    @staticmethod
    def from_mcp(server: str | Sequence[str], options: "McpOptions | None" = None) -> "McpTools":
        """The tools of an MCP server: `async with Tools.from_mcp("http://127.0.0.1:8080/mcp") as server:`, and then
        `llm.run(request, server)`, or `Tools([*server, get_time], at_once=4)`.

        `server` is a URL, or a command such as "uvx mcp-server-time", as a text or a list of words.
        """
        from three_mode.tools.mcp_tools import McpTools

        return McpTools(server, options)

    @classmethod
    def of(cls, tools: "Tools | Iterable[CallableTool | Callable[..., Any]]") -> "Tools":
        """`Tools` as they are, or those of a list with the default limits."""
        return tools if isinstance(tools, Tools) else cls(tools)


def as_tool(each: Any) -> CallableTool:
    """The tool that an object is, or that a function becomes."""
    if isinstance(each, CallableTool) and not isinstance(each, type):
        checked_name(each.name)
        return each
    if callable(each):
        return FunctionTool(each)
    raise ConfigurationError(
        f"{type(each).__name__} is no tool", hint="a typed function, AgentRef.tool(...), or an object with `call`"
    )


def _listed(tools: Any) -> Sequence[Any]:
    if isinstance(tools, str | bytes) or not isinstance(tools, Iterable):
        raise ConfigurationError(f"tools is a list, not {type(tools).__name__}", hint="Tools([get_time])")
    return tuple(tools)
