"""Tools of an MCP server for code without an event loop; `three_mode.sync` has this name.

with LLMConnection() as llm, McpTools("uvx mcp-server-time") as tools:
    print(llm.run("What time is it in Oslo?", tools).content)
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from three_mode.background_loop import LOOP
from three_mode.mcp.client.options import McpOptions
from three_mode.tools.mcp_tools import McpTool
from three_mode.tools.mcp_tools import McpTools as AsyncMcpTools


class McpTools:
    """`Tools.from_mcp` without await: the tools of a server, for `run` and `run_stream` of a connection here."""

    def __init__(self, server: str | Sequence[str], options: McpOptions | None = None) -> None:
        self._async = LOOP.read(lambda: AsyncMcpTools(server, options))

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    @property
    def name(self) -> str:
        """The server, as errors name it."""
        return self._async.name

    def __iter__(self) -> Iterator[McpTool]:
        """The tools as the server listed them last."""
        return iter(self._async)

    def __len__(self) -> int:
        return len(self._async)

    def __getitem__(self, name: str) -> McpTool:
        """The tool of a name."""
        return self._async[name]

    def refresh(self) -> None:
        """Reads the list of tools again."""
        LOOP.run(self._async.refresh())

    def __enter__(self) -> Self:
        LOOP.run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the server, and ends it if it was started here. Calls that run fail."""
        LOOP.run(self._async.aclose())
