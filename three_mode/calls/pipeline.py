"""The way of a call: targets, then cache, coalescing, attempts (breaker, limiter, retries, fallback), and the channel.

`Pipeline` completes whole replies; `StreamOpener` opens a stream up to its first content.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.first_attempt import Answered, FirstAttempt
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.reply_cache import ReplyCache
from three_mode.calls.request_prep import RequestPrep
from three_mode.channels.channel import OpenReply, SendingChannel, SentRequest
from three_mode.channels.replies import AccountedReply, EmulatedToolsReply, ReadyReply, weight
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, LLMResponse, Usage, chunks_of, fold
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
)
from three_mode.policies.breaker import trips
from three_mode.policies.cache import keepable
from three_mode.providers.emulation import calls_from_text


class Pipeline:
    """Runs calls over one channel, with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        policies: Policies,
        guards: Gates,
        book: CallLog,
        cache: ResponseCache | None,
        clock: Clock,
    ) -> None:
        self._channel = channel
        self._accounts = accounts
        self._book = book
        coalesce = CoalesceOptions() if policies.coalesce is True else policies.coalesce or None
        self._coalescer: Coalescer[Answered] | None = Coalescer() if coalesce is not None else None
        self._kept = ReplyCache(cache, coalesce is not None, accounts, book)
        self._attempts = Attempts(guards, policies.retry, policies.hedge, clock, partial(discard, book))
        self._preparing = RequestPrep(accounts, book)
        self._straight = FirstAttempt(
            channel, accounts, guards, book, self._preparing, self._attempts, self._coalescer, self._fetch, clock
        )
        self.streams = StreamOpener(
            channel, accounts, guards, book, self._preparing, self._attempts, self._kept, coalesce
        )

    def close(self) -> None:
        self._attempts.close()

    async def complete(self, one: ActiveCall, targets: Sequence[Target]) -> LLMResponse:
        """A whole reply, ready to be given to the caller."""
        key = self._kept.key(one, targets[0])
        cache, hints = self._kept.cache, one.request.cache
        if cache is not None and key is not None and (hints is None or hints.response != "refresh"):
            found = cache.look(key) if type(cache) is MemoryCache else await cache.get(key)
            if found is not None:
                return self._kept.found(one, found, targets[0])

        coalescer = self._coalescer if key is not None else None
        came: SentRequest | None = None
        if coalescer is None or coalescer.begin(key):
            reply, target, came = await self._answered(one, targets, coalescer, key)
        else:
            again = partial(self._attempts.run, one.policy, targets, partial(self._fetch, one))
            (reply, target), joined = await coalescer.run(key, again, one.policy.deadline)
            if joined:
                one.policy.step("coalesced", time.monotonic(), target)
        one.target = target
        if cache is not None and key is not None and keepable(reply):
            if came is not None and type(cache) is MemoryCache:
                cache.keep_written(key, came.written, came.read, hints.ttl if hints is not None else None)
            else:
                await self._kept.keep(one, key, reply, target, targets[0])
        return self._book.complete(one, reply, target, reply.usage)

    async def _answered(
        self,
        one: ActiveCall,
        targets: Sequence[Target],
        coalescer: Coalescer[Answered] | None,
        key: bytes | None,
    ) -> tuple[LLMResponse, Target, SentRequest | None]:
        """FirstAttempt, if it can be; else, and after a failure, with all that policies may do. With a coalescer it was begun there. The
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

    # One attempt. A failure counts for the provider that failed, also where another one answers.

    async def _fetch(self, one: ActiveCall, target: Target, due: float) -> Answered:
        """Where the first content has a limit of its own it must be seen, and so the reply is streamed and folded."""
        one.target = target
        try:
            one.raise_what_failed()
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


async def _folded(opened: OpenReply) -> LLMResponse:
    chunks: list[Chunk] = []
    try:
        while batch := await opened.more():
            chunks += batch
    finally:
        opened.close()
    return fold(chunks)


class StreamOpener:
    """Opens streams with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        guards: Gates,
        book: CallLog,
        preparing: RequestPrep,
        attempts: Attempts,
        kept: ReplyCache,
        coalesce: CoalesceOptions | None,
    ) -> None:
        self._channel, self._accounts, self._guards, self._book = channel, accounts, guards, book
        self._preparing, self._attempts, self._kept = preparing, attempts, kept
        self._shared: SharedStreams[Chunk, AccountedReply] | None = None
        if coalesce is not None and coalesce.streams:
            self._shared = SharedStreams(coalesce.buffer, weight)

    async def open(self, one: ActiveCall, targets: Sequence[Target]) -> OpenReply:
        """A streamed reply, with its first content."""
        one.policy.streamed = True
        key = self._kept.key(one, targets[0])
        cache, hints = self._kept.cache, one.request.cache
        if cache is not None and key is not None and (hints is None or hints.response != "refresh"):
            kept = await cache.get(key)
            if kept is not None:
                return ReadyReply(chunks_of(self._kept.found(one, kept, targets[0])))
        opened: OpenReply
        if self._shared is not None and key is not None:
            opened, joined = await self._shared.open(key, partial(self._opened, one, targets), one.policy.deadline)
            one.target = opened.source.target
            if joined:
                one.policy.step("coalesced", time.monotonic(), one.target)
        else:
            opened = await self._opened(one, targets)
            one.target = opened.target
        one.first_content = time.monotonic() - one.policy.began
        return opened

    async def _opened(self, one: ActiveCall, targets: Sequence[Target]) -> AccountedReply:
        opened = await self._attempts.run(one.policy, targets, partial(self._open, one))
        return self.accounted(one, opened.target, opened.reply, opened.reserved, lambda: one.policy.tokens)

    def accounted(
        self, one: ActiveCall, target: Target, opened: OpenReply, reserved: Decimal, asked: Callable[[], int]
    ) -> AccountedReply:
        """With an account of its own: it may get more readers than the one who began it, and outlive that one. `asked` estimates
        the prompt's tokens."""

        def ended(usage: Usage, whole: bool, error: BaseException | None) -> None:
            if whole or error is not None:
                self._judge(target, error)
            priced = self._book.priced(target, usage, self._accounts.profile(target.provider))
            self._book.ledger.settle(target.provider, target.model, one.label, reserved, priced)

        return AccountedReply(opened, target, asked, ended)

    async def _open(self, one: ActiveCall, target: Target, due: float) -> "_Opened":
        one.target = target
        try:
            one.raise_what_failed()
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
        return _Opened(EmulatedToolsReply(opened) if emulated else opened, target, one.label, reserved)

    async def keep(self, one: ActiveCall, reply: LLMResponse, target: Target, first: Target) -> None:
        """Puts a reply that was streamed into the cache: of a call that asked `first`, under which the next one looks for it."""
        key = self._kept.key(one, first) if self._kept.cache is not None else None
        if key is not None and keepable(reply):
            await self._kept.keep(one, key, reply, target, first)

    def _judge(self, target: Target, error: BaseException | None) -> None:
        """How a stream ended, which no attempt saw. One that its reader left says nothing."""
        breaker = self._guards.breaker(target)
        if breaker is not None and error is None:
            breaker.success()
        elif breaker is not None and error is not None and trips(error):
            breaker.failure()
        if isinstance(error, ThreeModeError):
            self._book.metrics.failed(target.provider, target.model, error)


class _Opened(NamedTuple):
    """A stream that an attempt opened, and what its call has set aside of the budgets."""

    reply: OpenReply
    target: Target
    label: str | None
    reserved: Decimal


def discard(book: CallLog, result: object) -> None:
    """A reply that came second in a race. A whole one is paid for; of a stream nobody reads on."""
    if isinstance(result, _Opened):
        result.reply.close()
        target = result.target
        book.ledger.settle(target.provider, target.model, result.label, result.reserved, None)
