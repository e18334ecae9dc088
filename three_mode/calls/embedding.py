"""The way of a call that embeds or reranks: attempts (gate, retries), budgets and prices around the channel.

There is no fallback: vectors and scores of two models have nothing to do with one another, and nobody would see that
they were mixed.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct, field

from three_mode.calls.call_book import CallAccount
from three_mode.calls.call_log import CallLog, new_request_id
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.dispatcher import Dispatcher
from three_mode.messages import Embedded, EmbedRequest, Reranked, RerankRequest, Usage
from three_mode.messages.usage import NOTHING
from three_mode.policies import Absences, Attempts, CallContext, Clock, RetryOptions, Target
from three_mode.providers.estimate import estimate_text

if TYPE_CHECKING:
    from three_mode.events.values import CallVerb
    from three_mode.observe.spans import SingleSpan

Result = TypeVar("Result", Embedded, Reranked)
# Asks a target, until a deadline.
Ask = Callable[[Target, Any, float], Awaitable[Result]]


class SingleCall(Struct, eq=False):
    """A call that asks for vectors, or for documents in order."""

    request: EmbedRequest | RerankRequest
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
    """Runs calls that embed or rerank, with the policies of a connection."""

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
        tokens = sum(map(estimate_text, request.texts)) or sum(map(len, request.tokens))
        call = _call(request, target, within, label, tokens)
        span = self._log.begin_single("embeddings", call.request_id, target, request.dimensions)
        return await self._answer(call, target, "embed", self._channel.embed, span)

    async def rerank(self, request: RerankRequest, target: Target, within: float, label: str | None = None) -> Reranked:
        """Documents, the best first, from the target, in `within` seconds at most."""
        each = estimate_text(request.query)
        tokens = sum(each + estimate_text(document) for document in request.documents)
        call = _call(request, target, within, label, tokens)
        span = self._log.begin_single("rerank", call.request_id, target)
        return await self._answer(call, target, "rerank", self._channel.rerank, span)

    async def _answer(
        self, call: SingleCall, target: Target, verb: "CallVerb", ask: "Ask[Result]", span: "SingleSpan | None"
    ) -> Result:
        targets, _, _ = self._absences.settled([target])
        log, events, began = self._log, self._log.events, call.context.began
        who = events.begin_single(call.request_id, call.label, target, verb) if events is not None else None
        try:
            with nullcontext() if span is None else span.active():
                answer: Result = await self._attempts.run(call.context, targets, partial(self._attempt, call, ask))
        except BaseException as error:
            if span is not None:
                span.failed(error)
            log.book.close(call, time.monotonic() - began, error=error)
            if events is not None and who is not None:
                events.end_single(who, target, began, NOTHING, error)
            raise
        latency = time.monotonic() - began
        log.metrics.record(target.provider, target.model, latency)
        log.book.close(call, latency)
        if span is not None:
            span.finished(answer)
        if events is not None and who is not None:
            events.end_single(who, target, began, answer.usage)
        return answer

    async def _attempt(self, call: SingleCall, ask: "Ask[Result]", target: Target, deadline: float) -> Result:
        log, profile = self._log, self._accounts.profile(target.provider)
        most = log.cost(target, Usage(input_tokens=call.context.tokens), profile)
        reserved = log.ledger.reserve(target.provider, target.model, call.label, most)
        try:
            answer = await ask(target, call.request, deadline)
        except BaseException as error:
            log.fail_attempt(call, target, reserved, error)
            raise
        usage = log.settle_attempt(call, target, reserved, answer.usage, profile)
        return msgspec.structs.replace(
            answer, model=answer.model or target.model, provider=target.provider, usage=usage
        )


def _call(
    request: EmbedRequest | RerankRequest, target: Target, within: float, label: str | None, tokens: int
) -> SingleCall:
    began = time.monotonic()
    context = CallContext(deadline=began + within, began=began, caller=label or "", tokens=tokens)
    return SingleCall(request, new_request_id(), context, label, target)
