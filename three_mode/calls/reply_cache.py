"""Calls that are the same have one reply: what they have in common, the replies that are kept, and what becomes of one that is found.

A kept reply has one step, which says who had given it, or none where that is who was asked first.
"""

import time
from decimal import Decimal

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.messages import LLMResponse, Step
from three_mode.policies import ResponseCache, Target, cache_key


class ReplyCache:
    """Those of one connection. `shared`: calls may be the same also where none is kept."""

    def __init__(self, cache: ResponseCache | None, shared: bool, accounts: ProviderAccounts, book: CallLog) -> None:
        self.cache = cache
        self._accounts, self._book = accounts, book
        self._any = cache is not None or shared

    def key(self, one: ActiveCall, target: Target) -> bytes | None:
        """The same for calls that may have one reply; None for one that shares none."""
        hints = one.request.cache
        if not self._any or (hints is not None and hints.response == "skip"):
            return None
        where, tenant = self._accounts.identity(target.provider)
        return cache_key(one.request, where, target.model, tenant)

    def found(self, one: ActiveCall, kept: LLMResponse, first: Target) -> LLMResponse:
        """A kept reply as the one of this call, which asked `first`."""
        target = _giver(kept) if kept.steps else first
        one.policy.step("cache_hit", time.monotonic(), target)
        one.target = target
        priced = self._book.priced(target, kept.usage, self._accounts.profile(target.provider))
        free = msgspec.structs.replace(priced, cost=Decimal(0) if priced.cost is not None else None)
        return self._book.complete(one, kept, target, free)

    async def keep(self, one: ActiveCall, key: bytes, reply: LLMResponse, target: Target, first: Target) -> None:
        """A reply that may be kept, and that `target` gave to a call that asked `first`."""
        steps = () if target == first else (Step("cache_hit", 0.0, target.provider, target.model),)
        if reply.steps != steps:
            reply = msgspec.structs.replace(reply, steps=steps)
        assert self.cache is not None
        hints = one.request.cache
        await self.cache.put(key, reply, hints.ttl if hints is not None else None)


def _giver(kept: LLMResponse) -> Target:
    (step,) = kept.steps
    return Target(step.provider or "", step.model or "")
