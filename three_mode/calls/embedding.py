"""The way of a call that embeds: attempts (gate, retries), budgets and prices around the channel.

There is no fallback: vectors of two models have nothing to do with one another, and nobody would see that they were
mixed.
"""

import time

import msgspec

from three_mode.calls.call_log import CallLog
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.dispatcher import Dispatcher
from three_mode.messages import Embedded, EmbedRequest, Usage
from three_mode.policies import Absences, Attempts, CallContext, Clock, RetryOptions, Target
from three_mode.providers.estimate import estimate_text


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
        tokens = sum(map(estimate_text, request.texts))
        context = CallContext(deadline=began + within, began=began, caller=label or "", tokens=tokens)

        async def attempt(target: Target, due: float) -> Embedded:
            return await self._attempt(request, target, due, tokens, label)

        targets, _, _ = self._absences.settled([target])
        embedded = await self._attempts.run(context, targets, attempt)
        self._log.metrics.record(target.provider, target.model, time.monotonic() - began)
        return embedded

    async def _attempt(
        self, request: EmbedRequest, target: Target, deadline: float, tokens: int, label: str | None
    ) -> Embedded:
        log, profile = self._log, self._accounts.profile(target.provider)
        most = log.cost(target, Usage(input_tokens=tokens), profile)
        reserved = log.ledger.reserve(target.provider, target.model, label, most)
        try:
            embedded = await self._channel.embed(target, request, deadline)
        except BaseException as error:
            log.fail_attempt(label, target, reserved, error)
            raise
        usage = log.settle_attempt(label, target, reserved, embedded.usage, profile)
        return msgspec.structs.replace(
            embedded, model=embedded.model or target.model, provider=target.provider, usage=usage
        )
