"""The way of a call that embeds: attempts (breaker, limiter, retries), budgets and prices around the channel.

There is no fallback: vectors of two models have nothing to do with one another, and nobody would see that they were mixed.
"""

import time

import msgspec

from three_mode.calls.call_log import CallLog
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.dispatcher import Dispatcher
from three_mode.errors import ThreeModeError
from three_mode.messages import Embedded, EmbedRequest, Usage
from three_mode.policies import Attempts, CallContext, Clock, RetryOptions, Target
from three_mode.providers.estimate import estimate_text


class EmbeddingPipeline:
    """Runs such calls with the policies of a connection."""

    def __init__(
        self,
        channel: Dispatcher,
        accounts: ProviderAccounts,
        retry: RetryOptions,
        guards: Gates,
        book: CallLog,
        clock: Clock,
    ) -> None:
        self._channel, self._accounts, self._book = channel, accounts, book
        self._attempts = Attempts(guards, retry, clock=clock)

    async def run(self, request: EmbedRequest, target: Target, within: float, label: str | None = None) -> Embedded:
        began = time.monotonic()
        tokens = sum(map(estimate_text, request.texts))
        policy = CallContext(deadline=began + within, began=began, caller=label or "", tokens=tokens)

        async def attempt(target: Target, due: float) -> Embedded:
            return await self._once(request, target, due, tokens, label)

        embedded = await self._attempts.run(policy, [target], attempt)
        self._book.metrics.record(target.provider, target.model, time.monotonic() - began)
        return embedded

    async def _once(
        self, request: EmbedRequest, target: Target, deadline: float, tokens: int, label: str | None
    ) -> Embedded:
        book, profile = self._book, self._accounts.profile(target.provider)
        most = book.cost(target, Usage(input_tokens=tokens), profile)
        reserved = book.ledger.reserve(target.provider, target.model, label, most)
        usage: Usage | None = None
        try:
            embedded = await self._channel.embed(target, request, deadline)
            usage = book.priced(target, embedded.usage, profile)
        except ThreeModeError as error:
            book.metrics.failed(target.provider, target.model, error)
            raise
        finally:
            book.ledger.settle(target.provider, target.model, label, reserved, usage)
        return msgspec.structs.replace(
            embedded, model=embedded.model or target.model, provider=target.provider, usage=usage
        )
