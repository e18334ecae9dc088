"""Answers to requests of MCP, of both eras. How messages come and go is the transport's affair."""

import asyncio
from collections.abc import Mapping
from typing import Any

from three_mode.callers_trace import callers_trace
from three_mode.errors import ThreeModeError
from three_mode.mcp.eras import (
    ACKNOWLEDGED,
    CAPABILITIES_KEY,
    HANDSHAKE,
    LIST_CHANGED,
    SERVER_KEY,
    STATELESS,
    SUBSCRIPTION_KEY,
    VERSION_KEY,
    VERSIONS,
    is_stateless,
    meta_of,
    this_program,
)
from three_mode.mcp.offered import TellProgress, ToolAnswer, ToolSource, UnknownTool
from three_mode.mcp.rpc import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    RequestId,
    RpcFailure,
    RpcRequest,
    write_notification,
)

INSTRUCTIONS = "Tools of agents. A call to a group of agents goes to the one with the least to do."
SPARE = 1.0  # seconds beyond its time in which a source says itself that it is over
LIST_KEPT = 5_000  # milliseconds for which a client may go on with a list of tools


class McpServer:
    """Answers requests with the tools of one source."""

    def __init__(self, source: ToolSource, instructions: str = INSTRUCTIONS) -> None:
        self.source = source
        self._instructions = instructions

    async def answer(self, request: RpcRequest, within: float, progress: TellProgress | None = None) -> dict[str, Any]:
        """The result of a request; RpcFailure where the protocol has an error for it."""
        params = request.params
        if request.method == "tools/call":
            result = await self._call(params, within, progress)
        elif request.method == "tools/list":
            result = await self._list(params)
        elif request.method == "server/discover":
            result = self._discover()
        elif request.method == "initialize" and not is_stateless(params):
            return self._initialize(params)
        elif request.method == "ping":
            result = {}
        else:
            raise RpcFailure(METHOD_NOT_FOUND, f"no method {request.method[:200]!r}; this server has tools alone")
        return self.stateless(result) if is_stateless(params) else result

    def stateless(self, result: dict[str, Any], **meta: Any) -> dict[str, Any]:
        """A result as the stateless era has it: it says of what kind it is, and who made it."""
        return {"resultType": "complete", **result, "_meta": {SERVER_KEY: this_program(), **meta}}

    @staticmethod
    def check_version(params: Mapping[str, Any]) -> None:
        """Raises RpcFailure where a request of the stateless era lacks what each must carry, or is of no such era."""
        meta = meta_of(params)
        missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
        if missing:
            raise RpcFailure(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}")
        version = meta[VERSION_KEY]
        if not isinstance(version, str):
            raise RpcFailure(INVALID_PARAMS, f"params._meta: {VERSION_KEY} is a text")
        if version not in STATELESS:
            raise unsupported(version)

    @staticmethod
    def acknowledgement(number: RequestId, params: Mapping[str, Any]) -> tuple[bytes, bool]:
        """The first message of a subscription, and whether changes of the list of tools are told in it."""
        wanted = params.get("notifications")
        if not isinstance(wanted, dict):
            raise RpcFailure(INVALID_PARAMS, "params.notifications is an object of what to be told of")
        tools = wanted.get("toolsListChanged") is True
        honoured = {"toolsListChanged": True} if tools else {}
        said = {"notifications": honoured, "_meta": {SUBSCRIPTION_KEY: number}}
        return write_notification(ACKNOWLEDGED, said), tools

    @staticmethod
    def list_changed(number: RequestId | None = None) -> bytes:
        """The message that other tools are offered now; `number` is that of the subscription, if it is in one."""
        return write_notification(LIST_CHANGED, None if number is None else {"_meta": {SUBSCRIPTION_KEY: number}})

    def _discover(self) -> dict[str, Any]:
        return {
            "supportedVersions": list(VERSIONS),
            "capabilities": {"tools": {"listChanged": True}},
            "instructions": self._instructions,
            "ttlMs": LIST_KEPT,
            "cacheScope": "private",
        }

    def _initialize(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise RpcFailure(INVALID_PARAMS, "params.protocolVersion is a text such as 2025-06-18")
        return {
            "protocolVersion": wanted if wanted in HANDSHAKE else HANDSHAKE[0],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": this_program(),
            "instructions": self._instructions,
        }

    async def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if params.get("cursor") is not None:
            raise RpcFailure(INVALID_PARAMS, "no such cursor: the list is given whole")
        tools = [
            {"name": tool.name, "description": tool.description, "inputSchema": tool.schema}
            for tool in await self.source.tools()
        ]
        if is_stateless(params):
            return {"tools": tools, "ttlMs": LIST_KEPT, "cacheScope": "private"}
        return {"tools": tools}

    async def _call(self, params: Mapping[str, Any], within: float, progress: TellProgress | None) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str):
            raise RpcFailure(INVALID_PARAMS, "params.name is the name of a tool")
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise RpcFailure(INVALID_PARAMS, "params.arguments is an object")
        meta = meta_of(params)
        try:
            async with asyncio.timeout(within + SPARE):
                with callers_trace(meta.get("traceparent"), meta.get("tracestate")):
                    answer = await self.source.call(name, arguments, within, progress)
        except UnknownTool:
            raise RpcFailure(INVALID_PARAMS, f"no tool {name[:200]!r}; tools/list says which there are") from None
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            answer = ToolAnswer.failed(f"the tool did not answer within {within:g} s")
        result: dict[str, Any] = {"content": answer.content, "isError": answer.is_error}
        if answer.structured is not None:
            result["structuredContent"] = answer.structured
        return result


def unsupported(version: str) -> RpcFailure:
    """The error for a version that this server does not speak."""
    said = {"supported": list(VERSIONS), "requested": version[:100]}
    return RpcFailure(UNSUPPORTED_VERSION, "Unsupported protocol version", said)


def progress_token(params: Mapping[str, Any]) -> RequestId | None:
    """The token by which a client wants to be told how far its call is."""
    token = meta_of(params).get("progressToken")
    return token if isinstance(token, int | str) and not isinstance(token, bool) else None
