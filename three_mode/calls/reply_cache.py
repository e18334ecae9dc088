"""Reply cache: keys, storing replies, reusing one for a new call.

A stored reply has one step, which says who had given it, or none where that is who was asked first.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.channels.channel import SentRequest
from three_mode.dispatcher import HERE, LOCAL
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMResponse, Step, Usage
from three_mode.modes import names_files
from three_mode.policies import MemoryCache, ResponseCache, Target, cache_key


class ReplyCache:
    """The replies that a connection may use again. With `shared`, calls have keys also where none is stored."""

    def __init__(
        self,
        cache: ResponseCache | None,
        shared: bool,
        accounts: ProviderAccounts,
        log: CallLog,
        bus_name: Callable[[], str] = lambda: "",
    ) -> None:
        """`bus_name` names the bus of this connection."""
        self.cache = cache
        self._memory = cache if type(cache) is MemoryCache else None
        self.look = self._memory.look if self._memory is not None else None
        """Finds a stored reply without waiting, where replies are in memory."""
        self._accounts, self._log, self._bus_name = accounts, log, bus_name
        self.has_keys = cache is not None or shared

    def key_of(self, call: ActiveCall, target: Target) -> bytes | None:
        """The same key for calls that may have one reply; None for a call that shares none."""
        hints = call.request.cache
        if not self.has_keys or (hints is not None and hints.response == "skip"):
            return None
        others: list[tuple[str, ...]] = []
        if call.route is not None or len(call.targets) > 1:
            others = [(call.route or "",), *sorted(map(self._identity, call.targets[1:]))]
        where, model, tenant = self._identity(target)
        return cache_key(call.request, where, model, tenant, others)

    def _identity(self, target: Target) -> tuple[str, str, str]:
        """Where a target is, its model, and whose account it is called with."""
        where, tenant = self._accounts.identity(target.provider)
        if target.provider in HERE:
            return self._identity_here(where, target), target.model, tenant
        return where, target.model, tenant

    def _identity_here(self, where: str, target: Target) -> str:
        """Agents of one name on two buses are two models, and so are files of one name in two folders."""
        if target.provider == LOCAL:
            return where + str(Path(target.model).absolute()) if names_files(target.model) else where
        try:
            return where + self._bus_name()
        except ThreeModeError:  # there is no bus, which the call itself will say
            return where

    def may_reuse(self, call: ActiveCall) -> bool:
        """Whether a stored reply may be the one of this call, which has a key."""
        hints = call.request.cache
        return self.cache is not None and (hints is None or hints.response != "refresh")

    async def find(self, key: bytes) -> LLMResponse | None:
        """A stored reply, wherever it is."""
        assert self.cache is not None
        return await self.cache.get(key)

    def reuse(self, call: ActiveCall, stored: LLMResponse, first: Target) -> tuple[LLMResponse, Usage]:
        """A stored reply as the one of this call, which asked `first`; and its usage, which costs nothing."""
        target = _giver(stored) if stored.steps else first
        call.context.add_step("cache_hit", time.monotonic(), target)
        call.reused, call.target = "cache_hit", target
        priced = self._log.with_cost(target, stored.usage, self._accounts.profile(target.provider))
        return stored, msgspec.structs.replace(priced, cost=Decimal(0) if priced.cost is not None else None)

    def store_written(self, call: ActiveCall, key: bytes, sent: SentRequest) -> bool:
        """Store a reply as it came, which `sent` reads again at each hit; False where replies are not in memory."""
        if self._memory is None:
            return False
        hints = call.request.cache
        self._memory.keep_written(key, sent.written, sent.read, hints.ttl if hints is not None else None)
        return True

    async def store(self, call: ActiveCall, key: bytes, reply: LLMResponse, target: Target, first: Target) -> None:
        """Store a reply that `target` gave to a call that asked `first`."""
        assert self.cache is not None
        steps = () if target == first else (Step("cache_hit", 0.0, target.provider, target.model),)
        if reply.steps != steps:
            reply = msgspec.structs.replace(reply, steps=steps)
        hints = call.request.cache
        await self.cache.put(key, reply, hints.ttl if hints is not None else None)


def _giver(stored: LLMResponse) -> Target:
    (step,) = stored.steps
    return Target(step.provider or "", step.model or "")
