"""The normal way of a call: a stored reply, or a shared one, or attempts (gate, retries, hedge, fallback) over its
channel.

`Pipeline` is for whole replies. `StreamOpener` is the same for streams, up to their first content: the account of a
stream is closed when it ends, which may be long after its attempt, and with more readers than one.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.first_attempt import Answered, FirstAttempt
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.reply_cache import ReplyCache
from three_mode.calls.request_prep import RequestPrep
from three_mode.channels.channel import OpenReply, SendingChannel, SentRequest
from three_mode.channels.replies import AccountedReply, EmulatedToolsReply, ReadyReply, chunk_weight, folded
from three_mode.errors import StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, LLMResponse, Usage, chunks_of
from three_mode.policies import (
    Absences,
    Attempts,
    Clock,
    CoalesceOptions,
    Coalescer,
    Policies,
    ResponseCache,
    SharedStreams,
    Target,
)
from three_mode.policies.cache import keepable
from three_mode.policies.tallies import ZERO
from three_mode.providers.emulation import calls_from_text

_NEAR = 0.1  # seconds: an agent's own calls end by the deadline that it inherits, a little before ours


class Pipeline:
    """Runs calls over one channel, with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        policies: Policies,
        gates: Gates,
        log: CallLog,
        cache: ResponseCache | None,
        clock: Clock,
        bus_name: Callable[[], str],
        absences: Absences,
    ) -> None:
        self._channel, self._accounts, self._log = channel, accounts, log
        coalesce = CoalesceOptions() if policies.coalesce is True else policies.coalesce or None
        self._coalescer: Coalescer[Answered] | None = Coalescer() if coalesce is not None else None
        self._replies = ReplyCache(cache, coalesce is not None, accounts, log, bus_name)
        discard = partial(_discard, log)
        self._attempts = Attempts(gates, policies.retry, policies.hedge, clock, discard, absences.instead)
        self._prep = RequestPrep(accounts, log)
        self._first = FirstAttempt(
            channel, accounts, gates, log, self._prep, self._attempts, self._coalescer, self._fetch, clock
        )
        self.streams = StreamOpener(channel, accounts, gates, log, self._prep, self._attempts, self._replies, coalesce)

    def close(self) -> None:
        """Start no more hedges, and end the waits before retries."""
        self._attempts.close()

    async def answer(self, call: ActiveCall, targets: Sequence[Target]) -> tuple[LLMResponse, Usage]:
        """A whole reply, still to be completed, and what it used. Sets the call's target."""
        replies, first = self._replies, targets[0]
        key = replies.key_of(call, first) if replies.has_keys else None
        if key is not None and replies.may_reuse(call):
            stored = replies.look(key) if replies.look is not None else await replies.find(key)
            if stored is not None:
                return replies.reuse(call, stored, first)

        coalescer = self._coalescer if key is not None else None
        came: SentRequest | None = None
        if coalescer is None or coalescer.begin(key):
            reply, target, came = await self._attempt(call, targets, coalescer, key)
        else:
            (reply, target), joined = await coalescer.run(key, self._attempts_on(call, targets), call.context.deadline)
            if joined:
                call.context.add_step("coalesced", time.monotonic(), target)
                call.reused = "coalesced"
        call.target = target
        if key is not None and replies.cache is not None and keepable(reply):
            written = came is not None and replies.store_written(call, key, came)
            if not written:
                await replies.store(call, key, reply, target, first)
        return reply, reply.usage

    async def _attempt(
        self,
        call: ActiveCall,
        targets: Sequence[Target],
        coalescer: Coalescer[Answered] | None,
        key: bytes | None,
    ) -> tuple[LLMResponse, Target, SentRequest | None]:
        """The first attempt at once, if it can be; else, and after a failure, the loop of all attempts. A coalescer has
        begun the key. The last of the result still has the reply as it came, where that is known."""
        flight, failed = None, None
        try:
            spare = targets[1] if len(targets) > 1 and call.context.slow_moves_on else targets[0]
            flight = self._first.try_send(call, targets[0], spare, key)
            if flight is not None:
                answered = await self._first.reply(flight)
                if coalescer is not None:
                    coalescer.succeeded(key, answered)
                return *answered, flight.came
        except ThreeModeError as error:
            failed = error
        except BaseException as error:
            if coalescer is not None:
                rest = self._attempts_on(call, targets)
                if not isinstance(error, asyncio.CancelledError) or not coalescer.wanted(key):
                    coalescer.failed(key, error)
                elif flight is None or flight.sent is None:
                    coalescer.hand_over(key, rest)
                else:
                    coalescer.hand_over(key, partial(self._first.reply_for_others, flight, rest))
            raise
        rest = partial(self._attempts_on(call, targets), failed)
        answered = await (rest() if coalescer is None else coalescer.go_on(key, rest))
        return *answered, None

    def _attempts_on(self, call: ActiveCall, targets: Sequence[Target]) -> "partial[Coroutine[Any, Any, Answered]]":
        """The loop of all attempts; its argument is how a first one failed, where that was made."""
        return partial(self._attempts.run, call.context, targets, partial(self._fetch, call))

    async def _fetch(self, call: ActiveCall, target: Target, due: float) -> Answered:
        """One attempt. Where the first content has a limit of its own it must be seen, and so the reply is streamed and
        folded."""
        call.target = target
        deadline, reserved = call.context.deadline, ZERO
        try:
            call.raise_first_failure()
            request, emulated = self._prep.prepare(call, target)
            reserved = self._prep.reserve(call, request, target)
            if due < deadline:
                opened = await self._channel.open(target, request, due, deadline)
                call.first_content = time.monotonic() - call.context.began
                reply = await folded(opened)
            else:
                reply = await self._channel.fetch(target, request, due, deadline)
        except BaseException as error:
            self._log.fail_attempt(call, target, reserved, error)
            raise
        profile = self._accounts.profile(target.provider)
        usage = self._log.settle_attempt(call, target, reserved, reply.usage, profile)
        if usage is not reply.usage:
            reply = msgspec.structs.replace(reply, usage=usage)
        return (calls_from_text(reply) if emulated else reply), target


class StreamOpener:
    """Opens streams with all policies of a connection."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        gates: Gates,
        log: CallLog,
        prep: RequestPrep,
        attempts: Attempts,
        replies: ReplyCache,
        coalesce: CoalesceOptions | None,
    ) -> None:
        self._channel, self._accounts, self._gates, self._log = channel, accounts, gates, log
        self._prep, self._attempts, self._replies = prep, attempts, replies
        self._shared: SharedStreams[Chunk, AccountedReply] | None = None
        if coalesce is not None and coalesce.streams:
            self._shared = SharedStreams(coalesce.buffer, chunk_weight)

    async def open(self, call: ActiveCall, targets: Sequence[Target]) -> OpenReply:
        """A streamed reply, with its first content."""
        replies, first = self._replies, targets[0]
        call.context.streamed = True
        key = replies.key_of(call, first)
        if key is not None and replies.may_reuse(call):
            stored = await replies.find(key)
            if stored is not None:
                return ReadyReply(chunks_of(self._log.complete_reply(call, *replies.reuse(call, stored, first))))
        opened: OpenReply
        if self._shared is not None and key is not None:
            opened, joined = await self._shared.open(key, partial(self._attempt, call, targets), call.context.deadline)
            call.target = opened.source.target
            if joined:
                call.context.add_step("coalesced", time.monotonic(), call.target)
                call.reused = "coalesced"
        else:
            opened = await self._attempt(call, targets)
            call.target = opened.target
        call.first_content = time.monotonic() - call.context.began
        return opened

    async def _attempt(self, call: ActiveCall, targets: Sequence[Target]) -> AccountedReply:
        opened = await self._attempts.run(call.context, targets, partial(self._open, call))
        return self.accounted(call, opened.target, opened.reply, opened.reserved, lambda: call.context.tokens)

    async def _open(self, call: ActiveCall, target: Target, due: float) -> "_Opened":
        """One attempt."""
        call.target = target
        reserved = ZERO
        try:
            call.raise_first_failure()
            request, emulated = self._prep.prepare(call, target)
            reserved = self._prep.reserve(call, request, target)
            opened = await self._channel.open(target, request, due, call.context.deadline)
        except BaseException as error:
            self._log.fail_attempt(call, target, reserved, error)
            raise
        return _Opened(EmulatedToolsReply(opened) if emulated else opened, target, call.label, reserved)

    def accounted(
        self, call: ActiveCall, target: Target, opened: OpenReply, reserved: Decimal, asked: Callable[[], int]
    ) -> AccountedReply:
        """A stream with an account of its own: it may get more readers than the one who began it, and outlive that one.
        `asked` estimates the prompt's tokens."""

        def ended(usage: Usage, whole: bool, error: BaseException | None) -> None:
            cut = isinstance(error, StreamInterrupted) and time.monotonic() >= call.context.deadline - _NEAR
            if whole or (error is not None and not cut):  # else its reader left, or its time was over
                self._gates.gate(target).ended(error, again=target in call.context.blamed)
            if isinstance(error, ThreeModeError):
                self._log.count_failure(call, target, error)
            profile = self._accounts.profile(target.provider)
            self._log.settle_attempt(call, target, reserved, usage, profile)

        return AccountedReply(opened, target, asked, ended)

    async def store(self, call: ActiveCall, reply: LLMResponse, target: Target, first: Target) -> None:
        """Put a reply that was streamed into the cache: of a call that asked `first`, under which the next one looks
        for it."""
        key = self._replies.key_of(call, first) if self._replies.cache is not None else None
        if key is not None and keepable(reply):
            await self._replies.store(call, key, reply, target, first)


class _Opened(NamedTuple):
    """A stream that an attempt opened, and what its call has set aside of the budgets."""

    reply: OpenReply
    target: Target
    label: str | None
    reserved: Decimal


def _discard(log: CallLog, result: object) -> None:
    """A reply that came second in a race. A whole one is paid for; of a stream nobody reads on."""
    if isinstance(result, _Opened):
        result.reply.close()
        target = result.target
        log.ledger.settle(target.provider, target.model, result.label, result.reserved, None)
