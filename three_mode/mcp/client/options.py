"""How an MCP server is reached, and what it may take."""

from collections.abc import Mapping
from typing import Literal

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from three_mode.mcp.eras import FIELD_NAME


class McpOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of `Tools.from_mcp`. Times are in seconds."""

    within: float = 60.0  #: for each call; less where the run or the handler that makes it has less
    connect_within: float = 30.0  #: to start it or connect to it, agree on a version, and read the list of its tools
    prefix: str = ""  #: goes before the names of its tools, so that those of two servers differ
    only: frozenset[str] | None = None  #: the tools to offer, by the server's names for them; None: all
    headers: Mapping[str, str] = {}  #: for a URL: headers of each request, such as `Authorization`
    environment: Mapping[str, str] = {}  #: of a command, besides HOME, LANG, LOGNAME, PATH, SHELL, TERM, TMPDIR, USER
    directory: str | None = None  #: for a command: where it runs; None: where this process does
    protocol: Literal["auto", "stateless", "handshake"] = "auto"  #: the era to speak; "auto" asks the server
    most_bytes: int = 16 << 20  #: bytes of the longest message; a server that sends a longer one has failed
    most_tools: int = 1000  #: tools of a list; the rest is left out

    def __post_init__(self) -> None:
        for name in ("within", "connect_within"):
            if not 0 < getattr(self, name) < 1e9:
                raise ConfigurationError(f"{name} is a number of seconds above 0, not {getattr(self, name)!r}")
        for name in ("most_bytes", "most_tools"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is at least 1, not {getattr(self, name)!r}")
        for name, value in self.headers.items():
            if not FIELD_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
                raise ConfigurationError(f"the header {name[:100]!r} cannot be sent", hint="ASCII, on one line")
        if self.protocol not in ("auto", "stateless", "handshake"):
            raise ConfigurationError(f"protocol is auto, stateless or handshake, not {self.protocol!r}")

    def __repr__(self) -> str:  # headers and variables may hold keys
        return f"McpOptions(within={self.within}, prefix={self.prefix!r}, protocol={self.protocol!r})"
