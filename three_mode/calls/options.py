"""What is rarely said of a connection: who is told of its calls, what may change their replies, and what it is made of."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import field
from msgspec.structs import replace

from three_mode.calls.provider_accounts import Account
from three_mode.channels.channel import is_content
from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions
from three_mode.messages import Chunk, LLMResponse
from three_mode.policies import Policies, PriceList
from three_mode.policies.clock import MONOTONIC, Clock

if TYPE_CHECKING:
    from three_mode.observe.records import RecordOptions
    from transports.http2 import PoolOptions

Hook = Callable[[LLMResponse], LLMResponse | Awaitable[LLMResponse]]
EachHook = Callable[[Chunk], Chunk | None]


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
    """What is told of calls, and what may be changed in replies. `label` names who pays, where a request's metadata does not.

    `after` gets each reply when it is whole, and gives the one that the caller sees: of a stream that is `response()`, because the
    pieces have gone out by then. `each` gets every piece of a stream (text, thinking, a tool call's) before its reader does, and
    gives the one to pass on, or None for nothing. The cache keeps what the provider said, so that both run on what comes out of it too.
    """

    records: "RecordOptions | None" = None
    spans: bool = False
    tracer: Any = None
    log_content: bool = False
    label: str | None = None
    after: Hook | None = None
    each: EachHook | None = None


def _pool_options() -> "PoolOptions":
    """The defaults of the HTTP transport, which a program of agents alone never loads."""
    from transports.http2 import PoolOptions

    return PoolOptions()


class ConnectionOptions(FrozenOptions, frozen=True, kw_only=True):
    """What is rarely set. `accounts` holds keys and addresses of other providers, for fallback and routes. `headers` go to the
    connection's own provider, which must be named (`Account(headers=...)` is for any other). `safety` is for all
    providers that are called: one that has no such settings is an error (`Account(safety=...)` is for one of them)."""

    accounts: Mapping[str, Account] = {}
    headers: Mapping[str, str] = {}
    safety: Mapping[str, str] = {}
    config: str | Path | Mapping[str, Any] | None = None
    detection_order: tuple[str, ...] | None = None
    transport: "PoolOptions" = field(default_factory=_pool_options)
    prices: PriceList | None = None
    clock: Clock = MONOTONIC


def with_retries(policies: Policies, max_retries: int | None, attempts: int | None) -> Policies:
    """The policies with as many attempts as the argument or the settings say, where one of them says it."""
    attempts = max_retries + 1 if max_retries is not None else attempts
    if attempts is None:
        return policies
    if attempts < 1:
        raise ConfigurationError(f"max_retries is at least 0, not {max_retries}")
    return replace(policies, retry=replace(policies.retry, attempts=attempts))
