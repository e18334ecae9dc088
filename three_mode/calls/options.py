"""What is rarely said of a connection: who is told of its calls, and what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from three_mode.calls.accounts import Account
from three_mode.calls.hooks import EachHook, Hook
from three_mode.observe.records import RecordOptions
from three_mode.policies import PriceList
from three_mode.policies.clock import MONOTONIC, Clock
from transports.http2 import PoolOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """What is told of calls, and what may be changed in replies. `label` names who pays, where a request's metadata does not.

    `after` gets each reply when it is whole, and gives the one that the caller sees: of a stream that is `response()`, because the
    pieces have gone out by then. `each` gets every piece of a stream (text, thinking, a tool call's) before its reader does, and
    gives the one to pass on, or None for nothing. The cache keeps what the provider said, so that both run on what comes out of it too.
    """

    records: RecordOptions | None = None
    spans: bool = False
    tracer: Any = None
    log_content: bool = False
    label: str | None = None
    after: Hook | None = None
    each: EachHook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What is rarely set. `accounts` holds keys and addresses of other providers, for fallback and routes. `headers` go to the
    connection's own provider, which must be named (`Account(headers=...)` is for any other). `safety` is for all
    providers that are called: one that has no such settings is an error (`Account(safety=...)` is for one of them)."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    safety: Mapping[str, str] = field(default_factory=dict)
    config: str | Path | Mapping[str, Any] | None = None
    detection_order: tuple[str, ...] | None = None
    transport: PoolOptions = field(default_factory=PoolOptions)
    prices: PriceList | None = None
    clock: Clock = MONOTONIC
