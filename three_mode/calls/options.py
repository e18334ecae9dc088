"""Rarely used options of a connection: observers of its calls, hooks on their replies, and what it is made of."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import field
from msgspec.structs import replace

from three_mode.calls.provider_accounts import Account
from three_mode.channels.channel import REPLY_BYTES, is_content
from three_mode.channels.grpc_options import GRPCOptions
from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from three_mode.messages import Chunk, LLMResponse, RequestDefaults, Step
from three_mode.policies import Policies, PriceList, RetryOptions
from three_mode.policies.clock import MONOTONIC, Clock

if TYPE_CHECKING:
    from local_models import LoadOptions
    from three_mode.events.values import EventListener
    from three_mode.observe.records import RecordOptions
    from transports.http2 import PoolOptions

Hook = Callable[[LLMResponse], LLMResponse | Awaitable[LLMResponse]]
EachHook = Callable[[Chunk], Chunk | None]
StepHook = Callable[[str, Step], object]


async def apply_after(after: Hook | None, reply: LLMResponse) -> LLMResponse:
    """The reply that the hook makes of a whole one."""
    if after is None:
        return reply
    changed = after(reply)
    return await changed if inspect.isawaitable(changed) else changed


def apply_each(each: EachHook, batch: list[Chunk]) -> list[Chunk]:
    """The batch as the hook leaves it, which gets to see only what the model made."""
    changed = (each(chunk) if is_content(chunk) else chunk for chunk in batch)
    return [chunk for chunk in changed if chunk is not None]


class Observing(FrozenOptions, frozen=True, kw_only=True):
    """Observers of a connection's calls, and hooks that change its replies.

    The cache stores replies as the provider sent them: both hooks run on stored replies too.
    """

    records: "RecordOptions | None" = None  #: where each call is written down, a JSON line a call; None: nowhere
    spans: bool = False  #: whether each call makes an OpenTelemetry span
    tracer: Any = None  #: OpenTelemetry tracer of the spans; None: the global one
    span_content: bool = False  #: whether spans hold the text of requests, replies and tool calls
    metrics: bool = False  #: whether calls and tools are measured by OpenTelemetry's metrics
    meter: Any = None  #: OpenTelemetry meter of the metrics; None: the global one
    log_content: bool = False  #: whether logs hold the text of requests and replies
    label: str | None = None  #: who pays, for requests whose metadata has no `label`
    #: hears of all that happens: each event of the connection, as `three_mode.events` has them, at its moment
    events: "EventListener | None" = None
    step: StepHook | None = None  #: hears of each step of a call at its moment: attempts, waits, switches of provider
    after: Hook | None = None  #: changes each whole reply; of a stream that is `response()`, its pieces are out by then
    each: EachHook | None = None  #: changes each piece of a stream before its reader gets it; None drops the piece


def _pool_options() -> "PoolOptions":
    """The defaults of the HTTP transport, which a program of agents alone never loads."""
    from transports.http2 import PoolOptions

    return PoolOptions()


class ConnectionOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of a connection that most programs leave alone."""

    accounts: Mapping[str, Account] = {}  #: keys and addresses of other providers, for fallback and routes
    headers: Mapping[str, str] = {}  #: sent to the connection's own provider, which must be named
    safety: Mapping[str, str] = {}  #: safety settings for every provider called; an error where a provider has none
    #: a config file, or its settings as a dict; None: the file in `LLM_CONFIG`, or that of the folder or the user
    config: str | Path | Mapping[str, Any] | None = None
    detection_order: tuple[str, ...] | None = None  #: providers to try where none is named; None: as configured
    defaults: RequestDefaults = RequestDefaults()  #: of requests that do not say; each goes to targets that can take it
    local: "LoadOptions | None" = None  #: how models of this computer are loaded; None: as configured, or by default
    models: Mapping[str, "LoadOptions"] = {}  #: the same for single models, by their name or path
    #: most bytes of all models of this computer that are loaded at once, in each process: the least recently used makes
    #: room; None: as configured, or 0.6 of the memory that is free at the first load
    local_memory_bytes: int | None = None
    files: Mapping[str, str] = {}  #: names for model files and folders: `{"brain": "models/brain.gguf"}`
    transport: "PoolOptions" = field(default_factory=_pool_options)  #: the pool of HTTP connections
    prices: PriceList | None = None  #: prices of models; None: those of `genai-prices`, where it is installed
    grpc: GRPCOptions = GRPCOptions()  #: how servers of gRPC are called
    #: most bytes of one reply, whole or streamed, as it comes over the wire: text, thinking, tool arguments, all of it
    reply_bytes: int = REPLY_BYTES
    clock: Clock = MONOTONIC  #: clock of all policies, for tests


def with_retries(policies: Policies, max_retries: int | None, attempts: int | None) -> Policies:
    """The policies with as many attempts as the argument says, or the settings where the policies say nothing else."""
    if max_retries is not None:
        if max_retries < 0:
            raise ConfigurationError(f"max_retries is at least 0, not {max_retries}")
        attempts = max_retries + 1
    elif policies.retry.attempts != RetryOptions().attempts:
        attempts = None
    return policies if attempts is None else replace(policies, retry=replace(policies.retry, attempts=attempts))
