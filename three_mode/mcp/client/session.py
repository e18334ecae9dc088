"""An agreement with one MCP server: which era both speak, its list of tools, and calls of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from three_mode.errors import DeadlineExceeded
from three_mode.mcp.client.content import content_of
from three_mode.mcp.client.link import Link, SessionOver, no_mcp
from three_mode.mcp.client.options import McpOptions
from three_mode.mcp.client.routing import routing_headers
from three_mode.mcp.eras import CAPABILITIES_KEY, CLIENT_KEY, HANDSHAKE, STATELESS, VERSION_KEY, this_program
from three_mode.mcp.errors import McpServerFailed, McpToolFailed
from three_mode.mcp.rpc import INVALID_PARAMS, UNSUPPORTED_VERSION, RpcFailure

log = logging.getLogger("three_mode.mcp")
T = TypeVar("T")
PROBED = 5.0  # seconds that a server has to say that it speaks the stateless era; an older one may never answer
MOST_PAGES = 100
AGAIN_FIRST, AGAIN_LAST = 1.0, 60.0  # seconds until notifications are listened for again


class ListedTool(Struct, frozen=True, rename="camel"):
    """A tool as its server lists it."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] = {}


class _Tools(Struct, rename="camel"):
    tools: list[Any]
    next_cursor: str | None = None


class _Discovered(Struct, rename="camel"):
    supported_versions: list[str]
    capabilities: dict[str, Any] = {}


class _Initialized(Struct, rename="camel"):
    protocol_version: str
    capabilities: dict[str, Any] = {}


class McpSession:
    """What was agreed on over one link."""

    def __init__(self, link: Link, options: McpOptions) -> None:
        self.link, self._options = link, options
        self._stateless = False
        self._tells_changes = False

    async def open(self, within: float) -> None:
        """Starts the server, and agrees with it."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within
        await self.link.open()
        wanted = self._options.protocol
        if wanted != "handshake" and await self._probe(min(PROBED, within / 2) if wanted == "auto" else within):
            return
        if wanted == "stateless":
            raise McpServerFailed(
                f"{self.link.name} does not speak the stateless era ({', '.join(STATELESS)})",
                server=self.link.name,
                hint='McpOptions(protocol="auto")',
            )
        try:
            await self._handshake(ends - loop.time())
        except RpcFailure as failure:
            # A server that was slow to start has taken the late probe, and speaks the stateless era since.
            late = failure.code == UNSUPPORTED_VERSION and wanted == "auto"
            if not (late and await self._probe(ends - loop.time())):
                raise self._refused(failure, "initialize") from None

    async def tools(self, within: float) -> list[ListedTool]:
        """The tools that the server lists, all pages of them."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within
        found: list[ListedTool] = []
        params: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = self._read(_Tools, await self._request("tools/list", params, ends - loop.time()), "tools/list")
            for each in page.tools:
                tool = _listed(each)
                if tool is None:
                    log.warning("%s lists a tool that is none: %.200r", self.link.name, each)
                elif len(found) < self._options.most_tools:
                    found.append(tool)
                else:
                    log.warning("%s lists more than %s tools", self.link.name, self._options.most_tools)
                    return found
            if page.next_cursor is None:
                return found
            params = {"cursor": page.next_cursor}
        log.warning("%s lists more than %s pages of tools", self.link.name, MOST_PAGES)
        return found

    async def call(self, tool: ListedTool, arguments: dict[str, Any], within: float) -> Any:
        """The result of a tool, as content that a model reads. McpToolFailed where the tool says that it failed,
        ValueError where the server says that the arguments are not right."""
        params = {"name": tool.name, "arguments": arguments}
        try:
            result = await self._request("tools/call", params, within, tool.input_schema)
        except RpcFailure as failure:
            if failure.code == INVALID_PARAMS:
                raise ValueError(f"{self.link.name}: {failure.message[:2000]}") from None
            raise self._refused(failure, f"the call of {tool.name}") from None
        kind = result.get("resultType", "complete")
        if kind != "complete":
            raise McpToolFailed(
                f"{tool.name} wants more than a call ({str(kind)[:50]!r}): this client has nobody to ask for it",
                server=self.link.name,
                tool=tool.name,
            )
        try:
            content = content_of(result)
        except msgspec.ValidationError as error:
            raise no_mcp(self.link.name, str(error)) from None
        if result.get("isError") is True:
            words = content if isinstance(content, str) else msgspec.json.encode(content).decode()
            raise McpToolFailed(words or "it failed, and did not say why", server=self.link.name, tool=tool.name)
        return content

    async def follow(self, changed: Callable[[], None]) -> None:
        """Listens, until it is cancelled, for the server's word that its list is another. What changed while nobody
        listened is told once it listens again."""
        if not self._tells_changes:
            return
        wait = AGAIN_FIRST
        again = False

        def told() -> None:
            nonlocal wait, again
            if again:
                changed()
            wait, again = AGAIN_FIRST, True

        while not self.link.broken:
            params = self._with_meta({"notifications": {"toolsListChanged": True}}) if self._stateless else None
            headers = routing_headers("subscriptions/listen", params, None) if params else ()
            try:
                await self.link.follow(params, told, headers)
                if params is None and not again:
                    return  # its notifications come of themselves
            except RpcFailure:
                return  # it has no such stream
            except (McpServerFailed, SessionOver):
                pass
            await asyncio.sleep(wait)
            wait = min(AGAIN_LAST, wait * 2)

    async def _probe(self, within: float) -> bool:
        """Whether the server speaks the stateless era. An answer of any other kind is that of an older server."""
        params = self._with_meta({})
        headers = routing_headers("server/discover", params, None)
        try:
            found = await self.link.request("server/discover", params, within, headers)
            told = msgspec.convert(found, _Discovered)
        except (RpcFailure, DeadlineExceeded, msgspec.ValidationError, SessionOver):
            return False
        if not any(version in STATELESS for version in told.supported_versions):
            return False
        self._stateless, self._tells_changes = True, _tells_changes(told.capabilities)
        return True

    async def _handshake(self, within: float) -> None:
        params = {"protocolVersion": HANDSHAKE[0], "capabilities": {}, "clientInfo": this_program()}
        try:
            found = await self.link.request("initialize", params, max(0.001, within))
        except SessionOver:
            raise McpServerFailed(f"{self.link.name} begins no session", server=self.link.name) from None
        told = self._read(_Initialized, found, "initialize")
        if told.protocol_version not in HANDSHAKE:
            raise McpServerFailed(
                f"{self.link.name} speaks the version {told.protocol_version[:50]!r} alone; this client has "
                f"{', '.join((*STATELESS, *HANDSHAKE))}",
                server=self.link.name,
            )
        self.link.version, self._stateless = told.protocol_version, False
        self._tells_changes = _tells_changes(told.capabilities)
        await self.link.notify("notifications/initialized")

    async def _request(
        self, method: str, params: dict[str, Any], within: float, schema: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        within = max(0.001, within)
        if self._stateless:
            params = self._with_meta(params)
            return await self.link.request(method, params, within, routing_headers(method, params, schema))
        try:
            return await self.link.request(method, params, within)
        except SessionOver:  # it has forgotten the session, and did nothing: begin another
            loop = asyncio.get_running_loop()
            ends = loop.time() + within
            await self._handshake(within)
            try:
                return await self.link.request(method, params, max(0.001, ends - loop.time()))
            except SessionOver:
                raise McpServerFailed(f"{self.link.name} forgets each session", server=self.link.name) from None

    @staticmethod
    def _with_meta(params: dict[str, Any]) -> dict[str, Any]:
        return {**params, "_meta": {VERSION_KEY: STATELESS[0], CLIENT_KEY: this_program(), CAPABILITIES_KEY: {}}}

    def _read(self, kind: type[T], result: dict[str, Any], method: str) -> T:
        try:
            return msgspec.convert(result, kind)
        except msgspec.ValidationError as error:
            raise no_mcp(self.link.name, f"to {method}: {error}") from None

    def _refused(self, failure: RpcFailure, what: str) -> McpServerFailed:
        said = f"{self.link.name} refused {what}: {failure.message[:2000]}"
        return McpServerFailed(said, server=self.link.name, code=failure.code)


def _listed(each: Any) -> ListedTool | None:
    try:
        return msgspec.convert(each, ListedTool)
    except msgspec.ValidationError:
        return None


def _tells_changes(capabilities: dict[str, Any]) -> bool:
    tools = capabilities.get("tools")
    return isinstance(tools, dict) and tools.get("listChanged") is True
