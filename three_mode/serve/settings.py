"""Table `serve` of a config file: the command line of `three-mode serve`, and limits of the endpoint."""

from pathlib import Path
from typing import Any, Literal

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions

_LIMITS = (
    "max_body",
    "max_bodies",
    "max_messages",
    "max_connections",
    "default_within",
    "longest_within",
    "drain_within",
    "event_buffer",
    "max_event_readers",
    "max_tasks",
    "max_tasks_bytes",
    "keep_tasks",
)


class ServeTable(FrozenOptions, frozen=True, kw_only=True):
    """Settings of the endpoint in a file. None leaves the choice to `ServeOptions`."""

    host: str | None = None  #: address to listen on
    port: int | None = None  #: port to listen on
    workers: int | None = None  #: processes that answer behind the one port
    grpc: int | str | None = None  #: port beside for gRPC, or `unix:PATH`
    certificate: Path | None = None  #: certificate chain, as PEM
    key: Path | None = None  #: its private key
    api_key_file: Path | None = None  #: keys that clients may use, one a line
    api_keys_env: str | None = None  #: environment variable that holds them, instead of `THREE_MODE_API_KEYS`
    bus: str | None = None  #: a running bus whose agents are served
    models: tuple[str, ...] = ()  #: what clients may ask, and nothing else: `NAME`, or `NAME=ADDRESS`
    any_local_model: bool = False  #: whether clients may name any model file of this computer
    talks: Path | None = None  #: file in which conversations are kept; None: the endpoint keeps none
    a2a: str | None = None  #: the agent of A2A whose card is at `/.well-known/agent-card.json`
    most_at_once: int | None = None  #: requests that are answered at once
    mcp_models: bool = False  #: whether `/mcp` offers a tool that asks the models
    origins: tuple[str, ...] = ()  #: web pages that may use the endpoint
    access_log: Literal["off", "short", "json"] = "off"  #: a line for each request, on standard output
    behind_proxy: bool = False  #: whether a proxy with TLS stands before it, and says who asks
    max_body: int | None = None  #: bytes of a request
    max_bodies: int | None = None  #: bytes of all requests that are being read
    max_messages: int | None = None  #: messages of a chat request
    max_connections: int | None = None  #: open connections
    default_within: float | None = None  #: seconds for a request that brings no deadline of its own
    longest_within: float | None = None  #: what a caller's own deadline is cut to
    drain_within: float | None = None  #: seconds that running requests have after SIGTERM
    event_buffer: int | None = None  #: events that wait for one slow reader
    max_event_readers: int | None = None  #: WebSockets that read events
    max_tasks: int | None = None  #: tasks of A2A that are kept
    max_tasks_bytes: int | None = None  #: bytes of all of them
    keep_tasks: float | None = None  #: seconds for which an ended task is kept, and one waits for its user

    def limits(self) -> dict[str, Any]:
        """The limits that the table sets, by their names in `ServeOptions`."""
        return {name: value for name in _LIMITS if (value := getattr(self, name)) is not None}


def named_models(words: tuple[str, ...]) -> dict[str, str]:
    """Name that clients use -> address, of words such as `tiny` and `brain=gguf:models/brain.gguf`."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, address = word.partition("=")
        if equals and (not name or not address or ":" in name):
            raise ConfigurationError(
                f"{word!r} names no model", hint="NAME=ADDRESS, for example brain=gguf:models/brain.gguf"
            )
        if name in found:
            raise ConfigurationError(f"two models are called {name!r}")
        found[name] = address or name
    return found
