"""The way of a call: targets, then cache, coalescing, attempts (breaker, limiter, retries, fallback), and the channel."""

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import msgspec

from three_mode.calls.accounted import Accounted, weight
from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, OneCall
from three_mode.calls.emulated import Emulated
from three_mode.calls.guards import Guarding
from three_mode.calls.prepared import Preparing
from three_mode.calls.replayed import Replayed
from three_mode.calls.straight import Answered, Straight
from three_mode.channels.channel import OpenReply, SendingChannel, Sent
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, LLMResponse, Step, Usage, chunks_of, fold
from three_mode.policies import (
    Attempts,
    Clock,
    CoalesceOptions,
    Coalescer,
    MemoryCache,
    Policies,
    ResponseCache,
    SharedStreams,
    Target,
    cache_key,
)
from three_mode.policies.breaker import trips
from three_mode.policies.cache import keepable
from three_mode.providers.emulation import calls_from_text


class Engine:
    """Runs calls over one channel, with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: Accounts,
        policies: Policies,
        guards: Guarding,
        book: Book,
        cache: ResponseCache | None,
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._accounts = accounts
        self._policies = policies
        self._guards = guards
        self._book = book
        self._cache = cache
        self._coalescer: Coalescer[Answered] | None = None
        self._streams: SharedStreams[Chunk, Accounted] | None = None
        if policies.coalesce:
            coalesce = (
                policies.coalesce if isinstance(policies.coalesce, CoalesceOptions) else CoalesceOptions()
            )
            self._coalescer = Coalescer()
            if coalesce.streams:
                self._streams = SharedStreams(coalesce.buffer, weight)
        self._attempts = Attempts(guards, policies.retry, policies.hedge, clock, self._discard)
        self._preparing = Preparing(accounts, book)
        self._straight = Straight(
            channel,
            accounts,
            guards,
            book,
            self._preparing,
            self._attempts,
            self._coalescer,
            self._fetch,
            clock,
        )

    def close(self) -> None:
        self._attempts.close()

    async def complete(self, one: OneCall, targets: Sequence[Target]) -> LLMResponse:
        """A whole reply, ready to be given to the caller."""
        key = self._key(one, targets[0])
        cache, hints = self._cache, one.request.cache
        if cache is not None and key is not None and (hints is None or hints.response != "refresh"):
            found = cache.look(key) if type(cache) is MemoryCache else await cache.get(key)
            if found is not None:
                return self._from_cache(one, found, targets[0])

        coalescer = self._coalescer if key is not None else None
        came: Sent | None = None
        if coalescer is None or coalescer.begin(key):
            reply, target, came = await self._answered(one, targets, coalescer, key)
        else:
            again = partial(self._attempts.run, one.policy, targets, partial(self._fetch, one))
            (reply, target), joined = await coalescer.run(key, again, one.policy.deadline)
            if joined:
                one.policy.step("coalesced", time.monotonic(), target)
        one.target = target
        if cache is not None and key is not None and keepable(reply):
            ttl = hints.ttl if hints is not None else None
            if came is not None and type(cache) is MemoryCache:
                cache.keep_written(key, came.written, came.read, ttl)
            else:
                await cache.put(key, _given_by(reply, target, targets[0]), ttl)
        return self._book.complete(one, reply, target, reply.usage)

    async def _answered(
        self,
        one: OneCall,
        targets: Sequence[Target],
        coalescer: Coalescer[Answered] | None,
        key: bytes | None,
    ) -> tuple[LLMResponse, Target, Sent | None]:
        """Straight, if it can be; else, and after a failure, with all that policies may do. With a coalescer it was begun there. The
        last of the result still has the reply as it came, where that is known."""
        flight, failed = None, None
        try:
            spare = targets[1] if len(targets) > 1 else targets[0]
            flight = self._straight.begin(one, targets[0], spare, key)
            if flight is not None:
                answered = await self._straight.answer(flight)
                if coalescer is not None:
                    coalescer.succeeded(key, answered)
                return *answered, flight.came
        except ThreeModeError as error:
            failed = error
        except BaseException as error:
            if coalescer is not None:
                rest = partial(self._attempts.run, one.policy, targets, partial(self._fetch, one))
                if not isinstance(error, asyncio.CancelledError) or not coalescer.wanted(key):
                    coalescer.failed(key, error)
                elif flight is None or flight.sent is None:
                    coalescer.hand_over(key, rest)
                else:
                    coalescer.hand_over(key, partial(self._straight.alone, flight, rest))
            raise
        rest = partial(self._attempts.run, one.policy, targets, partial(self._fetch, one), failed)
        answered = await (rest() if coalescer is None else coalescer.go_on(key, rest))
        return *answered, None

    async def open(self, one: OneCall, targets: Sequence[Target]) -> OpenReply:
        """A streamed reply, with its first content."""
        one.policy.streamed = True
        key = self._key(one, targets[0])
        kept = await self._kept(one, key, targets[0])
        if kept is not None:
            return Replayed(chunks_of(kept))
        opened: OpenReply
        if self._streams is not None and key is not None:
            opened, joined = await self._streams.open(
                key, partial(self._opened, one, targets), one.policy.deadline
            )
            one.target = opened.source.target
            if joined:
                one.policy.step("coalesced", time.monotonic(), one.target)
        else:
            opened = await self._opened(one, targets)
            one.target = opened.target
        one.first_content = time.monotonic() - one.policy.began
        return opened

    async def _opened(self, one: OneCall, targets: Sequence[Target]) -> Accounted:
        opened = await self._attempts.run(one.policy, targets, partial(self._open, one))
        return self.accounted(one, opened.target, opened.reply, opened.reserved, lambda: one.policy.tokens)

    def accounted(
        self, one: OneCall, target: Target, opened: OpenReply, reserved: Decimal, asked: Callable[[], int]
    ) -> Accounted:
        """With an account of its own: it may get more readers than the one who began it, and outlive that one. `asked` estimates
        the prompt's tokens."""

        def ended(usage: Usage, whole: bool, error: BaseException | None) -> None:
            if whole or error is not None:
                self._judge(target, error)
            priced = self._book.priced(target, usage, self._accounts.profile(target.provider))
            self._book.ledger.settle(target.provider, target.model, one.label, reserved, priced)

        return Accounted(opened, target, asked, ended)

    async def keep(self, one: OneCall, target: Target, reply: LLMResponse) -> None:
        """Puts a reply that was streamed into the cache."""
        key = self._key(one, target)
        if self._cache is not None and key is not None and keepable(reply):
            hints = one.request.cache
            ttl = hints.ttl if hints is not None else None
            await self._cache.put(key, _given_by(reply, target, target), ttl)

    def _judge(self, target: Target, error: BaseException | None) -> None:
        """How a stream ended, which no attempt saw. One that its reader left says nothing."""
        breaker = self._guards.breaker(target)
        if breaker is not None and error is None:
            breaker.success()
        elif breaker is not None and error is not None and trips(error):
            breaker.failure()
        if isinstance(error, ThreeModeError):
            self._book.metrics.failed(target.provider, target.model, error)

    # One attempt. A failure counts for the provider that failed, also where another one answers.

    async def _fetch(self, one: OneCall, target: Target, due: float) -> Answered:
        """Where the first content has a limit of its own it must be seen, and so the reply is streamed and folded."""
        one.target = target
        try:
            _raise_what_failed(one)
            request, emulated = self._preparing.request(one, target)
            reserved = self._preparing.reserve(one, request, target)
            usage: Usage | None = None
            try:
                if due < one.policy.deadline:
                    opened = await self._channel.open(target, request, due, one.policy.deadline)
                    one.first_content = time.monotonic() - one.policy.began
                    reply = await _folded(opened)
                else:
                    reply = await self._channel.fetch(target, request, due, one.policy.deadline)
                usage = self._book.priced(target, reply.usage, self._accounts.profile(target.provider))
            finally:
                self._book.ledger.settle(target.provider, target.model, one.label, reserved, usage)
        except ThreeModeError as error:
            self._book.metrics.failed(target.provider, target.model, error)
            raise
        if usage is not reply.usage:
            reply = msgspec.structs.replace(reply, usage=usage)
        return (calls_from_text(reply) if emulated else reply), target

    async def _open(self, one: OneCall, target: Target, due: float) -> "_Opened":
        one.target = target
        try:
            _raise_what_failed(one)
            request, emulated = self._preparing.request(one, target)
            reserved = self._preparing.reserve(one, request, target)
            try:
                opened = await self._channel.open(target, request, due, one.policy.deadline)
            except BaseException:
                self._book.ledger.settle(target.provider, target.model, one.label, reserved, None)
                raise
        except ThreeModeError as error:
            self._book.metrics.failed(target.provider, target.model, error)
            raise
        return _Opened(Emulated(opened) if emulated else opened, target, one.label, reserved)

    def _discard(self, result: "Answered | _Opened") -> None:
        """A reply that came second in a race. A whole one is paid for; of a stream nobody reads on."""
        if isinstance(result, _Opened):
            result.reply.close()
            target = result.target
            self._book.ledger.settle(target.provider, target.model, result.label, result.reserved, None)

    # The cache

    def _key(self, one: OneCall, target: Target) -> bytes | None:
        hints = one.request.cache
        if (self._cache is None and self._coalescer is None) or (
            hints is not None and hints.response == "skip"
        ):
            return None
        where, tenant = self._accounts.identity(target.provider)
        return cache_key(one.request, where, target.model, tenant)

    async def _kept(self, one: OneCall, key: bytes | None, target: Target) -> LLMResponse | None:
        hints = one.request.cache
        if self._cache is None or key is None or (hints is not None and hints.response == "refresh"):
            return None
        reply = await self._cache.get(key)
        return None if reply is None else self._from_cache(one, reply, target)

    def _from_cache(self, one: OneCall, reply: LLMResponse, first: Target) -> LLMResponse:
        target = _giver(reply) if reply.steps else first
        one.policy.step("cache_hit", time.monotonic(), target)
        one.target = target
        priced = self._book.priced(target, reply.usage, self._accounts.profile(target.provider))
        free = msgspec.structs.replace(priced, cost=Decimal(0) if priced.cost is not None else None)
        return self._book.complete(one, reply, target, free)


def _given_by(reply: LLMResponse, target: Target, first: Target) -> LLMResponse:
    """A reply to be kept for those who ask `first`: it has one step, which says who gave it, or none where that is the same."""
    steps = () if target == first else (Step("cache_hit", 0.0, target.provider, target.model),)
    return reply if reply.steps == steps else msgspec.structs.replace(reply, steps=steps)


def _giver(kept: LLMResponse) -> Target:
    (step,) = kept.steps
    return Target(step.provider or "", step.model or "")


def _raise_what_failed(one: OneCall) -> None:
    """How the first attempt ended, where that was made on a short way."""
    if one.failed is not None:
        failed, one.failed = one.failed, None
        raise failed


async def _folded(opened: OpenReply) -> LLMResponse:
    chunks: list[Chunk] = []
    try:
        while batch := await opened.more():
            chunks += batch
    finally:
        opened.close()
    return fold(chunks)


class _Opened(NamedTuple):
    """A stream that an attempt opened, and what its call has set aside of the budgets."""

    reply: OpenReply
    target: Target
    label: str | None
    reserved: Decimal
