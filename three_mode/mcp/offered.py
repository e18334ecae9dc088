"""What an MCP server offers: its tools, and where their answers come from."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

# Told of each part of an answer that comes in parts: how many there are, and the text of the last.
TellProgress = Callable[[int, str], Awaitable[None]]


class OfferedTool(Struct, frozen=True):
    """One tool."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON Schema of the arguments: an object."""
    streams: bool = False
    """Whether its answer comes in parts, of which a client may be told."""


class ToolAnswer(Struct, frozen=True):
    """The answer of a tool, or what went wrong in it."""

    content: list[dict[str, Any]]
    structured: dict[str, Any] | None = None
    is_error: bool = False

    @classmethod
    def failed(cls, words: str) -> "ToolAnswer":
        """The answer of a tool that failed, which a model reads."""
        return cls([{"type": "text", "text": words}], is_error=True)


class UnknownTool(LookupError):
    """No tool of that name is offered."""


class ToolSource(Protocol):
    """Where tools come from. Its calls end within their time, and by cancellation."""

    async def tools(self) -> Sequence[OfferedTool]:
        """What is offered now."""
        ...

    async def call(
        self, name: str, arguments: dict[str, Any], within: float, progress: TellProgress | None = None
    ) -> ToolAnswer:
        """The answer of a tool; UnknownTool where there is none of that name."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls `changed` whenever other tools are offered, until the returned function is called."""
        ...


class SeveralSources:
    """Tools of several sources. Of two with one name, the earlier source's is offered."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._sources = tuple(sources)

    async def tools(self) -> Sequence[OfferedTool]:
        found: dict[str, OfferedTool] = {}
        for source in self._sources:
            for tool in await source.tools():
                found.setdefault(tool.name, tool)
        return list(found.values())

    async def call(
        self, name: str, arguments: dict[str, Any], within: float, progress: TellProgress | None = None
    ) -> ToolAnswer:
        for source in self._sources:
            try:
                return await source.call(name, arguments, within, progress)
            except UnknownTool:
                continue
        raise UnknownTool(name)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        ends = [source.watch(changed) for source in self._sources]

        def stop() -> None:
            for end in ends:
                end()

        return stop
