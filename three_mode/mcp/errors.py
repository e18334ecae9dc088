"""Errors of calls to MCP servers. The deadline of a call is a `DeadlineExceeded`, as everywhere."""

from three_mode.errors import ThreeModeError


class McpServerFailed(ThreeModeError):
    """A server did not start, cannot be reached, died, or does not follow the protocol."""

    server: str | None = None  #: the server, as `Tools.from_mcp` names it
    code: int | None = None  #: code of JSON-RPC, where the server refused by one


class McpToolFailed(ThreeModeError):
    """A tool of a server answered that it failed. The message is what it said."""

    server: str | None = None  #: the server, as `Tools.from_mcp` names it
    tool: str | None = None  #: the tool, as the server calls it
