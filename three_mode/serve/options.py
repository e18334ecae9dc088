"""How the endpoint listens, and what it refuses."""

import ipaddress
from pathlib import Path
from typing import Literal

from msgspec import Struct

from three_mode.errors import ConfigurationError
from three_mode.serve.model_rule import ModelRule
from three_mode.serve.wire_in import MOST_MESSAGES

UNIX = "unix:"


class Tls(Struct, frozen=True):
    """A certificate chain and its key, as PEM files."""

    certificate: Path
    key: Path


class ServeOptions(Struct, frozen=True, kw_only=True):
    """Loopback by default. Elsewhere the endpoint refuses to start without an API key and TLS; behind a proxy that has
    TLS, without an API key."""

    host: str = "127.0.0.1"
    port: int = 8080
    reuse_port: bool = False
    """Whether other processes of this user may listen on the same ports: several workers of one endpoint."""
    grpc: int | str | None = None
    """A port beside for gRPC, or `unix:PATH`. The port above answers calls of gRPC too, in any case."""
    tls: Tls | None = None
    api_keys: frozenset[str] = frozenset()
    max_body: int = 8 << 20
    """Bytes of a request; more is a 413."""
    max_messages: int = MOST_MESSAGES
    """Messages of a chat request; more are a 400."""
    max_bodies: int = 128 << 20
    """Bytes of requests that are being read, all together, and at least `max_body`; beyond, the oldest that is not
    whole is a 503. As many bytes of requests may be answered at once; beyond, one more is a 503."""
    max_in_flight: int = 512
    """Requests being answered at once, once they are whole; more are a 503 that says when to try again."""
    max_connections: int = 10_000
    """Open connections, or half of the files that the process may open. One more closes the connection that has been
    without a whole request for the longest time."""
    default_within: float = 120.0
    """Seconds for a request that brings no deadline of its own."""
    longest_within: float = 3600.0
    """What a caller's own deadline is cut to."""
    event_buffer: int = 1024
    """Events that wait for one slow WebSocket; beyond, the oldest go and the reader is told how many."""
    max_event_readers: int = 64
    drain_within: float = 30.0
    """Seconds that running requests have after SIGTERM."""
    mcp_models: bool = False
    """Whether `/mcp` offers a tool that asks the models, beside the tools of agents."""
    a2a_default: str | None = None
    """The agent whose card is at `/.well-known/agent-card.json`; None: the only one that there is."""
    max_tasks: int = 10_000
    """Tasks of A2A that are kept. When there is no room, the finished task that ended first goes, then the one that has
    waited longest for its user. As many tasks are worked on at once as requests are answered (`max_in_flight`)."""
    max_tasks_bytes: int = 64 * 1024 * 1024
    """Bytes of all their messages and results. One task may have an eighth of them."""
    keep_tasks: float = 3600.0
    """Seconds for which a finished task is kept, and a task waits for its user."""
    allowed_origins: frozenset[str] = frozenset()
    """Web pages of other origins that may open `/events`, as in "https://console.example"."""
    only_models: frozenset[str] | None = None
    """Names of models that clients may use, and no others: those are a 404. None: whatever the backend has."""
    any_local_model: bool = False
    """Whether clients may name any model file of this computer, and any model of Hugging Face that it may fetch:
    `gguf:PATH`, `hf:...`. Otherwise that is a 403, as a URL always is."""
    access_log: Literal["off", "short", "json"] = "off"
    """A line for each request that ends, to the logger `three_mode.access`: for people, or as JSON."""
    behind_proxy: bool = False
    """Whether all requests come through a proxy, which has TLS and says in `X-Forwarded-For` and `X-Forwarded-Proto`
    who asks, and how. It needs API keys, on loopback too."""

    def __post_init__(self) -> None:
        if any(not key.strip() for key in self.api_keys):
            raise ConfigurationError("an API key is empty")
        if not 1 <= self.port <= 65535:
            raise ConfigurationError(f"a port is between 1 and 65535, not {self.port}")
        if isinstance(self.grpc, int) and not 1 <= self.grpc <= 65535:
            raise ConfigurationError(f"a port for gRPC is between 1 and 65535, not {self.grpc}")
        if self.grpc == self.port:
            raise ConfigurationError(f"port {self.port} answers gRPC already", hint="leave --grpc out")
        if isinstance(self.grpc, str) and not self.grpc.removeprefix(UNIX):
            raise ConfigurationError("no path of a socket for gRPC is given", hint="--grpc unix:/run/three-mode.sock")
        if isinstance(self.grpc, str) and not self.grpc.startswith(UNIX):
            raise ConfigurationError(f"{self.grpc!r} is neither a port nor unix:PATH", hint="--grpc 50051")
        if self.max_connections < 1:
            raise ConfigurationError("max_connections is at least 1")
        if self.max_body < 1 or self.max_in_flight < 1 or self.event_buffer < 1:
            raise ConfigurationError("max_body, max_in_flight (--most-at-once) and event_buffer are at least 1")
        if self.max_tasks < 1 or self.max_tasks_bytes < 1 or not self.keep_tasks > 0:
            raise ConfigurationError("max_tasks and max_tasks_bytes are at least 1, and keep_tasks above 0")
        self._check_place()

    def _check_place(self) -> None:
        if self.behind_proxy:
            if not self.api_keys:
                raise ConfigurationError(
                    "an endpoint behind a proxy can be reached from elsewhere: that needs an API key",
                    hint="give --api-key-file",
                )
            return
        lacks = [what for what, there in (("an API key", self.api_keys), ("TLS", self.tls)) if not there]
        if lacks and not self.on_loopback:
            raise ConfigurationError(
                f"{self.host} can be reached from elsewhere: that needs {' and '.join(lacks)}",
                hint="give --api-key-file and --certificate with --key, or listen on 127.0.0.1; a proxy that has TLS "
                "is --behind-proxy",
            )

    @property
    def model_rule(self) -> ModelRule:
        """What clients may name."""
        return ModelRule(self.only_models, self.any_local_model)

    @property
    def on_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name: where it leads is not known before it is used

    def __repr__(self) -> str:  # keys stay out of logs and tracebacks
        scheme = "https" if self.tls else "http"
        return f"ServeOptions({scheme}://{self.host}:{self.port}, {len(self.api_keys)} API keys)"
