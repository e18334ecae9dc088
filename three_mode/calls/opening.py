"""The way of a stream, up to its first content: that of a whole reply (engine.py), but that nothing of it is whole yet.

Its account is closed when it ends, which may be long after its attempt, and with more readers than one.
"""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from three_mode.calls.accounted import Accounted, weight
from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, OneCall
from three_mode.calls.emulated import Emulated
from three_mode.calls.guards import Guarding
from three_mode.calls.kept import Kept
from three_mode.calls.prepared import Preparing
from three_mode.calls.replayed import Replayed
from three_mode.channels.channel import OpenReply, SendingChannel
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, LLMResponse, Usage, chunks_of
from three_mode.policies import Attempts, CoalesceOptions, SharedStreams, Target
from three_mode.policies.breaker import trips
from three_mode.policies.cache import keepable


class Opening:
    """Opens streams with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: Accounts,
        guards: Guarding,
        book: Book,
        preparing: Preparing,
        attempts: Attempts,
        kept: Kept,
        coalesce: CoalesceOptions | None,
    ) -> None:
        self._channel, self._accounts, self._guards, self._book = channel, accounts, guards, book
        self._preparing, self._attempts, self._kept = preparing, attempts, kept
        self._shared: SharedStreams[Chunk, Accounted] | None = None
        if coalesce is not None and coalesce.streams:
            self._shared = SharedStreams(coalesce.buffer, weight)

    async def open(self, one: OneCall, targets: Sequence[Target]) -> OpenReply:
        """A streamed reply, with its first content."""
        one.policy.streamed = True
        key = self._kept.key(one, targets[0])
        cache, hints = self._kept.cache, one.request.cache
        if cache is not None and key is not None and (hints is None or hints.response != "refresh"):
            kept = await cache.get(key)
            if kept is not None:
                return Replayed(chunks_of(self._kept.found(one, kept, targets[0])))
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

    async def _open(self, one: OneCall, target: Target, due: float) -> "_Opened":
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
        return _Opened(Emulated(opened) if emulated else opened, target, one.label, reserved)

    async def keep(self, one: OneCall, reply: LLMResponse, target: Target, first: Target) -> None:
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


def discard(book: Book, result: object) -> None:
    """A reply that came second in a race. A whole one is paid for; of a stream nobody reads on."""
    if isinstance(result, _Opened):
        result.reply.close()
        target = result.target
        book.ledger.settle(target.provider, target.model, result.label, result.reserved, None)
