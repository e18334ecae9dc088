"""Accounts of batches: what each result costs, and its place in ledger, metrics, records and logs. Once a batch on each
connection, however often and by however many handles its results are read.
"""

import logging
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from three_mode.calls.call_log import CallLog
from three_mode.dispatcher import mode_of
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.observe.logs import event, logger
from three_mode.policies import Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.batches import ProviderBatch
from three_mode.providers.profile import Profile

_MOST = 10_000  # batches of which a connection knows that they are booked


class BatchedOutcome(Struct):
    """One request of a batch, and how it ended."""

    custom_id: str
    label: str | None
    outcome: LLMResponse | ThreeModeError
    request: LLMRequest | None = None
    """None: another process made it."""
    reserved: Decimal = ZERO


class BatchAccounts:
    """The accounts of one connection."""

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self._booked: dict[tuple[str, str], None] = {}

    def completed(
        self, reply: LLMResponse, name: str, target: Target, profile: Profile, batch: ProviderBatch
    ) -> LLMResponse:
        """The reply with all that its codec could not know, and its cost at the price of batches."""
        usage, terms = reply.usage, profile.batches
        cost = usage.cost if usage.cost is not None else self._log.cost(target, usage, profile)
        if cost is not None and usage.cost is None:
            usage = msgspec.structs.replace(usage, cost=cost * Decimal(str(terms.price)) if terms is not None else cost)
        extra = {**reply.extra, "batch": batch.id}
        if reply.request_id and reply.request_id != name:
            extra["provider_request_id"] = reply.request_id
        changes = {} if batch.ended_at is None else {"created_at": batch.ended_at}
        return msgspec.structs.replace(
            reply,
            model=reply.model or target.model,
            provider=target.provider,
            mode=mode_of(target),
            usage=usage,
            latency=duration(batch),
            request_id=name,
            extra=extra,
            **changes,
        )

    def book(self, target: Target, batch: ProviderBatch, answered: Sequence[BatchedOutcome]) -> None:
        """Book a whole batch; where it is booked already, only free what was set aside for it."""
        key, ledger = (target.provider, batch.id), self._log.ledger
        if key in self._booked:
            for each in answered:
                ledger.settle(target.provider, target.model, each.label, each.reserved, None)
            return
        while len(self._booked) >= _MOST:
            del self._booked[next(iter(self._booked))]
        self._booked[key] = None
        latency = duration(batch)
        for each in answered:
            self._log.book_batched(
                target, each.label, each.reserved, each.custom_id, each.request, each.outcome, latency
            )
        if logger.isEnabledFor(logging.INFO):
            failed = sum(isinstance(each.outcome, ThreeModeError) for each in answered)
            event(
                logging.INFO,
                "llm_batch",
                batch.id,
                provider=target.provider,
                model=target.model,
                requests=len(answered),
                failed=failed,
                state=batch.state,
                latency=round(latency, 1),
            )


def duration(batch: ProviderBatch) -> float:
    """Seconds from a batch's beginning to its end, by the provider's clock."""
    if batch.created_at is None or batch.ended_at is None:
        return 0.0
    return max(0.0, (batch.ended_at - batch.created_at).total_seconds())
