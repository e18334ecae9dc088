"""The way of a call: targets, then cache, coalescing, attempts (breaker, limiter, retries, fallback), and the channel.

Here it is that of a whole reply; that of a stream is in opening.py.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, OneCall
from three_mode.calls.guards import Guarding
from three_mode.calls.kept import Kept
from three_mode.calls.opening import Opening, discard
from three_mode.calls.prepared import Preparing
from three_mode.calls.straight import Answered, Straight
from three_mode.channels.channel import OpenReply, SendingChannel, Sent
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, LLMResponse, Usage, fold
from three_mode.policies import (
    Attempts,
    Clock,
    CoalesceOptions,
    Coalescer,
    MemoryCache,
    Policies,
    ResponseCache,
    Target,
)
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
        self._book = book
        coalesce = CoalesceOptions() if policies.coalesce is True else policies.coalesce or None
        self._coalescer: Coalescer[Answered] | None = Coalescer() if coalesce is not None else None
        self._kept = Kept(cache, coalesce is not None, accounts, book)
        self._attempts = Attempts(guards, policies.retry, policies.hedge, clock, partial(discard, book))
        self._preparing = Preparing(accounts, book)
        self._straight = Straight(
            channel, accounts, guards, book, self._preparing, self._attempts, self._coalescer, self._fetch, clock
        )
        self.streams = Opening(channel, accounts, guards, book, self._preparing, self._attempts, self._kept, coalesce)

    def close(self) -> None:
        self._attempts.close()

    async def complete(self, one: OneCall, targets: Sequence[Target]) -> LLMResponse:
        """A whole reply, ready to be given to the caller."""
        key = self._kept.key(one, targets[0])
        cache, hints = self._kept.cache, one.request.cache
        if cache is not None and key is not None and (hints is None or hints.response != "refresh"):
            found = cache.look(key) if type(cache) is MemoryCache else await cache.get(key)
            if found is not None:
                return self._kept.found(one, found, targets[0])

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
            if came is not None and type(cache) is MemoryCache:
                cache.keep_written(key, came.written, came.read, hints.ttl if hints is not None else None)
            else:
                await self._kept.keep(one, key, reply, target, targets[0])
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

    # One attempt. A failure counts for the provider that failed, also where another one answers.

    async def _fetch(self, one: OneCall, target: Target, due: float) -> Answered:
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
