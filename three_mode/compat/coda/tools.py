"""`ToolManager`: tools for every conversation of a manager. It begins with the time and a calculator."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from three_mode.compat.coda.arithmetic import value_of
from three_mode.messages import Tool
from three_mode.tools import CallableTool, Tools


def get_time(zone: str = "UTC") -> str:
    """The date and time now.

    zone: name of a time zone, for example "Europe/Oslo"
    """
    try:
        here = UTC if zone == "UTC" else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {zone!r}; for example Europe/Oslo") from None
    return f"{datetime.now(here):%A, %Y-%m-%d %H:%M:%S %Z}"


def calculator(expression: str) -> str:
    """The value of an arithmetic expression.

    expression: numbers, + - * / // % **, parentheses, sqrt, abs, round, min, max and the like, for example "2+2"
    """
    return str(value_of(expression))


class ToolManager:
    """Tools that the model may call. `ToolManager(tools=())` begins without any."""

    def __init__(self, tools: Iterable[CallableTool | Callable[..., Any]] = (get_time, calculator)) -> None:
        self.tools = Tools(tools)

    def register_tool(self, tool: CallableTool | Callable[..., Any]) -> None:
        """Adds a typed function, or another tool of `three_mode.tools`."""
        self.tools = self.tools.plus(tool)

    def list_tools(self) -> list[str]:
        """The names of the tools."""
        return list(self.tools.by_name)

    @property
    def specs(self) -> tuple[Tool, ...]:
        """The tools as a request describes them."""
        return self.tools.specs
