"""The way of a call that embeds: attempts (gate, retries), budgets and prices around the channel.

There is no fallback: vectors of two models have nothing to do with one another, and nobody would see that they were
mixed.
"""

import time
from contextlib import nullcontext
from functools import partial

import msgspec
from msgspec import Struct, field

from three_mode.calls.call_book import CallAccount
from three_mode.calls.call_log import CallLog, new_request_id
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.dispatcher import Dispatcher
from three_mode.messages import Embedded, EmbedRequest, Usage
from three_mode.messages.usage import NOTHING
from three_mode.policies import Absences, Attempts, CallContext, Clock, RetryOptions, Target
from three_mode.providers.estimate import estimate_text


class EmbedCall(Struct, eq=False):
    """A call that asks for vectors."""

    request: EmbedRequest
    request_id: str
    context: CallContext
    label: str | None
    target: Target | None
    targets: tuple[Target, ...] = ()
    route: str | None = None
    first_content: float | None = None
    reused: None = None
    account: CallAccount = field(default_factory=CallAccount)


class EmbeddingPipeline:
    """Runs calls that embed, with the policies of a connection."""

    def __init__(
        self,
        channel: Dispatcher,
        accounts: ProviderAccounts,
        retry: RetryOptions,
        gates: Gates,
        log: CallLog,
        clock: Clock,
        absences: Absences,
    ) -> None:
        """`absences` are of the method that embeds: a server of gRPC need not have it."""
        self._channel, self._accounts, self._log = channel, accounts, log
        self._absences = absences
        self._attempts = Attempts(gates, retry, clock=clock, instead=absences.instead)

    def close(self) -> None:
        """End the waits before retries."""
        self._attempts.close()

    async def embed(self, request: EmbedRequest, target: Target, within: float, label: str | None = None) -> Embedded:
        """A vector for each text, from the target, in `within` seconds at most."""
        began = time.monotonic()
        tokens = sum(map(estimate_text, request.texts)) or sum(map(len, request.tokens))
        context = CallContext(deadline=began + within, began=began, caller=label or "", tokens=tokens)
        call = EmbedCall(request, new_request_id(), context, label, target)
        targets, _, _ = self._absences.settled([target])
        log, events = self._log, self._log.events
        who = events.begin_embedding(call.request_id, label, target) if events is not None else None
        span = log.begin_embedding(call.request_id, target, request.dimensions)
        try:
            with nullcontext() if span is None else span.active():
                embedded = await self._attempts.run(context, targets, partial(self._attempt, call))
        except BaseException as error:
            if span is not None:
                span.failed(error)
            log.book.close(call, time.monotonic() - began, error=error)
            if events is not None and who is not None:
                events.end_embedding(who, target, began, NOTHING, error)
            raise
        latency = time.monotonic() - began
        log.metrics.record(target.provider, target.model, latency)
        log.book.close(call, latency)
        if span is not None:
            span.finished(embedded)
        if events is not None and who is not None:
            events.end_embedding(who, target, began, embedded.usage)
        return embedded

    async def _attempt(self, call: EmbedCall, target: Target, deadline: float) -> Embedded:
        log, profile = self._log, self._accounts.profile(target.provider)
        most = log.cost(target, Usage(input_tokens=call.context.tokens), profile)
        reserved = log.ledger.reserve(target.provider, target.model, call.label, most)
        try:
            embedded = await self._channel.embed(target, call.request, deadline)
        except BaseException as error:
            log.fail_attempt(call, target, reserved, error)
            raise
        usage = log.settle_attempt(call, target, reserved, embedded.usage, profile)
        return msgspec.structs.replace(
            embedded, model=embedded.model or target.model, provider=target.provider, usage=usage
        )
