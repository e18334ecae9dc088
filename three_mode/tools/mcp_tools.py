"""Tools of MCP servers: `async with Tools.from_mcp("http://127.0.0.1:8080/mcp") as server: ...`."""

import asyncio
import logging
import math
import shlex
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.handling import current
from three_mode.mcp.client.child_link import ChildLink, command_name
from three_mode.mcp.client.http_link import HttpLink
from three_mode.mcp.client.link import Link
from three_mode.mcp.client.options import McpOptions
from three_mode.mcp.client.session import ListedTool, McpSession
from three_mode.mcp.eras import LIST_CHANGED
from three_mode.mcp.errors import McpServerFailed
from three_mode.mcp.rpc import RpcFailure
from three_mode.tools.arguments import UnfitArguments
from three_mode.tools.callable_tool import LONGEST_NAME, fitting_letters

log = logging.getLogger("three_mode.mcp")
AGAIN = 1.0  # seconds between two starts of a server that has ended


class McpTools:
    """The tools of one MCP server, while its block runs: a list of tools that follows the server's.

    `server` is a URL, or a command, as a text or a list of words. A command is started, and ended with the block.
    A call that fails, whatever the reason, is an error that the model reads. A command that has ended is started anew
    by the next call.
    """

    def __init__(self, server: str | Sequence[str], options: McpOptions | None = None) -> None:
        self._options = options or McpOptions()
        self._server: str | tuple[str, ...] = _read_server(server)
        self._session: McpSession | None = None
        self._tools: dict[str, McpTool] = {}
        self._opening = asyncio.Lock()
        self._opened_at = -math.inf
        self._following: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False
        self._closed = False

    def __repr__(self) -> str:
        return f"McpTools({self.name!r}, {len(self._tools)} tools)"

    @property
    def name(self) -> str:
        """The server, as errors name it."""
        return self._server if isinstance(self._server, str) else command_name(self._server)

    def __iter__(self) -> Iterator["McpTool"]:
        """The tools as the server listed them last."""
        return iter(list(self._tools.values()))

    def __len__(self) -> int:
        return len(self._tools)

    def __getitem__(self, name: str) -> "McpTool":
        """The tool of a name."""
        return self._tools[name]

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the server, and ends it if it was started here. Calls that run fail."""
        self._closed = True
        await self._leave()

    async def refresh(self) -> None:
        """Reads the list of tools again."""
        session = await self._living()
        await self._read(session)

    async def call(self, tool: ListedTool, arguments: dict[str, Any]) -> Any:
        """Calls a tool of the server; see `McpTool.call`."""
        left = current.get().remaining()
        if left <= 0:
            left = 0.001
        try:
            session = await self._living()
            return await session.call(tool, arguments, min(self._options.within, left))
        except ValueError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise UnfitArguments(str(error)) from None

    async def _living(self) -> McpSession:
        """The session, begun anew where the server has ended since."""
        self._check_open()
        session = self._session
        if session is not None and not session.link.broken:
            return session
        async with self._opening:
            session = self._session
            if session is not None and not session.link.broken:
                return session
            wait = self._opened_at + AGAIN - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._check_open()  # it may have been closed meanwhile
            await self._leave()
            return await self._open()

    def _check_open(self) -> None:
        if self._closed:
            raise McpServerFailed(f"{self.name} was closed", server=self.name, hint="call it within its block")

    async def _open(self) -> McpSession:
        loop = asyncio.get_running_loop()
        self._opened_at = loop.time()
        ends = self._opened_at + self._options.connect_within
        session = self._session = McpSession(self._link(), self._options)
        try:
            await session.open(self._options.connect_within)
            await self._read(session, ends - loop.time())
        except BaseException:
            self._session = None
            await session.link.close()
            raise
        self._following = loop.create_task(session.follow(self._changed))
        return session

    async def _leave(self) -> None:
        session, self._session = self._session, None
        tasks = [task for task in (self._following, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._following = self._reading = None
        if session is not None:
            await session.link.close()

    def _link(self) -> Link:
        if isinstance(self._server, str):
            return HttpLink(self._server, self._options, self._heard)
        return ChildLink(self._server, self._options, self._heard)

    def _heard(self, method: str, params: dict[str, Any]) -> None:
        if method == LIST_CHANGED:
            self._changed()

    def _changed(self) -> None:
        """The list is another. A server that says so without end is asked once at a time."""
        if self._session is None or self._closed:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._follow_list(self._session))
        else:
            self._read_again = True

    async def _follow_list(self, session: McpSession) -> None:
        while True:
            self._read_again = False
            try:
                await self._read(session)
            except (ThreeModeError, RpcFailure) as error:
                log.warning("the tools of %s were not read again: %s", self.name, error)
            if not self._read_again:
                return
            await asyncio.sleep(AGAIN)

    async def _read(self, session: McpSession, within: float | None = None) -> None:
        try:
            listed = await session.tools(self._options.connect_within if within is None else within)
        except RpcFailure as failure:
            said = f"{self.name} refused to list its tools: {failure.message[:2000]}"
            raise McpServerFailed(said, server=self.name, code=failure.code) from None
        found: dict[str, McpTool] = {}
        for tool in listed:
            if self._options.only is not None and tool.name not in self._options.only:
                continue
            name = fitting_letters(self._options.prefix + tool.name)[:LONGEST_NAME]
            if not name or name in found:
                log.warning("the tool %.200r of %s is left out: its name is that of another", tool.name, self.name)
            else:
                found[name] = McpTool(self, tool, name)
        self._tools = found


class McpTool:
    """One tool of an MCP server: a `CallableTool`."""

    __slots__ = ("_listed", "_server", "description", "name", "schema")

    def __init__(self, server: McpTools, listed: ListedTool, name: str) -> None:
        self._server, self._listed = server, listed
        self.name, self.description = name, listed.description or ""
        self.schema: dict[str, Any] = {"type": "object", **listed.input_schema}

    def __repr__(self) -> str:
        return f"McpTool({self._server.name!r}, {self.name!r})"

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Calls the tool, within `McpOptions.within` and what is left of the call that is being handled.

        `McpToolFailed` is what the tool says went wrong, `McpServerFailed` what went wrong with its server,
        `DeadlineExceeded` an answer that did not come in time.
        """
        return await self._server.call(self._listed, arguments)


def _read_server(server: str | Sequence[str]) -> str | tuple[str, ...]:
    """A URL, or the words of a command."""
    if isinstance(server, str):
        if server.startswith(("http://", "https://")):
            return server
        if "://" in server:
            raise ConfigurationError(f"{server!r} is no URL of an MCP server", hint="http:// or https://, or a command")
        try:
            words = tuple(shlex.split(server))
        except ValueError as error:
            raise ConfigurationError(f"the command {server!r} cannot be read: {error}") from None
    else:
        words = tuple(server)
    if not words or not all(isinstance(word, str) for word in words) or not words[0]:
        raise ConfigurationError("no MCP server is named", hint="a URL, or a command and its words")
    return words
