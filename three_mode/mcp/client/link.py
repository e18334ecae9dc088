"""What carries messages between a client and one MCP server."""

from collections.abc import Callable
from typing import Any, Protocol

from three_mode.errors import DeadlineExceeded
from three_mode.mcp.errors import McpServerFailed

Headers = tuple[tuple[bytes, bytes], ...]
# Hears of each notification of the server: its method and parameters.
Heard = Callable[[str, dict[str, Any]], None]


class SessionOver(Exception):
    """The server knows the session no longer: it did not look at the request."""


class Link(Protocol):
    """One way to one server. All calls of one link are made in one event loop."""

    name: str  # of the server, in errors
    version: str  # that both sides agreed on; empty before

    @property
    def broken(self) -> bool:
        """Whether no request can succeed any more."""
        ...

    async def open(self) -> None:
        """Starts or finds the server; McpServerFailed if that cannot be."""
        ...

    async def request(
        self, method: str, params: dict[str, Any], within: float, headers: Headers = ()
    ) -> dict[str, Any]:
        """The result of a request. RpcFailure is the server's refusal, McpServerFailed says that there is no answer,
        DeadlineExceeded that it came too late. `headers` are for a link that has some."""
        ...

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Sends a notification."""
        ...

    async def follow(self, params: dict[str, Any] | None, told: Callable[[], None], headers: Headers = ()) -> None:
        """Listens for notifications, as long as the server sends them. `params` are those of a subscription; None: the
        era has none. `told` is called once it listens. Returns at once where notifications come of themselves."""
        ...

    async def close(self) -> None:
        """Ends the link, and the server if it was started for it."""
        ...


def too_late(name: str, method: str, within: float, why: str = "") -> DeadlineExceeded:
    """The error of an answer that did not come in time."""
    said = f"{name} did not answer {method} within {within:g} s"
    return DeadlineExceeded(f"{said}; {why}" if why else said)


def no_mcp(name: str, what: str) -> McpServerFailed:
    """The error of an answer that is none."""
    return McpServerFailed(f"{name} answered what is no MCP: {what}", server=name)
