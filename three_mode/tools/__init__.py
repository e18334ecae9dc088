"""Tools that a model may call: typed functions, handlers of agents, and the loop that runs them.

    def get_time(zone: str = "UTC") -> str:
        '''The time now.'''

    reply = await llm.run(request, Tools([get_time, scouts[7].tool(Scout.score)], at_once=4), most_rounds=5)

Only names live here; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.mcp.client.options import McpOptions as McpOptions
    from three_mode.mcp.errors import McpServerFailed as McpServerFailed
    from three_mode.mcp.errors import McpToolFailed as McpToolFailed
    from three_mode.tools.arguments import UnfitArguments as UnfitArguments
    from three_mode.tools.callable_tool import CallableTool as CallableTool
    from three_mode.tools.collection import Approve as Approve
    from three_mode.tools.collection import Tools as Tools
    from three_mode.tools.events import RoundStarted as RoundStarted
    from three_mode.tools.events import RunEnd as RunEnd
    from three_mode.tools.events import RunEvent as RunEvent
    from three_mode.tools.events import RunFinished as RunFinished
    from three_mode.tools.events import RunReply as RunReply
    from three_mode.tools.events import ToolFinished as ToolFinished
    from three_mode.tools.events import ToolStarted as ToolStarted
    from three_mode.tools.function import FunctionTool as FunctionTool
    from three_mode.tools.handler import HandlerTool as HandlerTool
    from three_mode.tools.mcp_tools import McpTool as McpTool
    from three_mode.tools.mcp_tools import McpTools as McpTools
    from three_mode.tools.outcome import CallStatus as CallStatus
    from three_mode.tools.outcome import ToolOutcome as ToolOutcome
    from three_mode.tools.run import AnyTools as AnyTools
    from three_mode.tools.run import RunStream as RunStream

# Public name -> the module that defines it, below `three_mode.tools` unless it has a dot.
_MODULE_OF = {
    "AnyTools": "run",
    "Approve": "collection",
    "CallStatus": "outcome",
    "CallableTool": "callable_tool",
    "FunctionTool": "function",
    "HandlerTool": "handler",
    "McpOptions": "three_mode.mcp.client.options",
    "McpServerFailed": "three_mode.mcp.errors",
    "McpTool": "mcp_tools",
    "McpToolFailed": "three_mode.mcp.errors",
    "McpTools": "mcp_tools",
    "RoundStarted": "events",
    "RunEnd": "events",
    "RunEvent": "events",
    "RunFinished": "events",
    "RunReply": "events",
    "RunStream": "run",
    "ToolFinished": "events",
    "ToolOutcome": "outcome",
    "ToolStarted": "events",
    "Tools": "collection",
    "UnfitArguments": "arguments",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'three_mode.tools' has no attribute {name!r}")
    path = module if "." in module else f"three_mode.tools.{module}"
    value = globals()[name] = getattr(import_module(path), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
