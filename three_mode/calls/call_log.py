"""What is told of a call when it ends: its cost, metrics, logs, record and span. One place for whole and streamed replies."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import msgspec

from three_mode.dispatcher import HERE, mode_of
from three_mode.errors import LLMError, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse, Usage
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import event, logger
from three_mode.observe.metrics import Metrics
from three_mode.observe.records import RecordWriter
from three_mode.observe.spans import CallTracer, Span
from three_mode.policies import CallContext, PriceList, Prices, SpendingLedger, Target
from three_mode.providers import Profile


@dataclass(slots=True, eq=False)
class ActiveCall:
    """A call of the user's from beginning to end. `target` is who answers, once that is known."""

    request: LLMRequest
    request_id: str
    policy: CallContext
    label: str | None = None
    target: Target | None = None
    first_content: float | None = None
    span: Span | None = None
    failed: ThreeModeError | None = None
    """How its first attempt ended, where that was made before the policies were asked; see to_agent.py."""

    @property
    def mode(self) -> CommunicationMode:
        return mode_of(self.target) if self.target is not None else CommunicationMode.HUMAN_AI

    def raise_what_failed(self) -> None:
        """In the place of the first attempt, where that was made already."""
        if self.failed is not None:
            failed, self.failed = self.failed, None
            raise failed


class FailedFirstAttempt(NamedTuple):
    """A first attempt that failed on the agents' fast path: what the pipeline goes on from."""

    began: float
    deadline: float
    error: ThreeModeError


class CallLog:
    """Keeps the ledger, the metrics and the records of a connection."""

    def __init__(
        self,
        prices: PriceList,
        ledger: SpendingLedger,
        metrics: Metrics,
        recorder: RecordWriter | None,
        tracer: CallTracer | None,
        log_content: bool,
    ) -> None:
        self.prices = prices
        self.ledger = ledger
        self.metrics = metrics
        self.recorder = recorder
        self._tracer = tracer
        self._log_content = log_content

    @property
    def traces(self) -> bool:
        return self._tracer is not None

    def began(self, one: ActiveCall, targets: Sequence[Target]) -> None:
        if self._tracer is not None and one.span is None:
            one.span = self._tracer.begin(one.request, targets[0].provider, targets[0].model, one.request_id)
        if logger.isEnabledFor(logging.DEBUG):
            self._log(
                logging.DEBUG,
                "llm_request",
                one,
                targets[0],
                messages=len(one.request.messages),
                tokens=one.policy.tokens,
                content=[message.text for message in one.request.messages] if self._log_content else None,
            )

    def cost(self, target: Target, usage: Usage, profile: Profile) -> Decimal | None:
        """By the provider's prices; where it counts tokens more than once, so do we."""
        cost = self.prices.cost(target.provider, target.model, usage)
        if cost is None:
            return None
        factor = profile.multiplier(target.model)
        return cost if factor == 1.0 else cost * Decimal(str(factor))

    def has_price(self, target: Target) -> bool:
        """Whether somebody may know what it costs: of a target on this machine, only a price that the user gave says it."""
        prices = self.prices
        return target.provider not in HERE or type(prices) is not Prices or prices.gave(target.provider, target.model)

    def priced(self, target: Target, usage: Usage, profile: Profile) -> Usage:
        cost = usage.cost if usage.cost is not None else self.cost(target, usage, profile)
        return usage if cost is None else msgspec.structs.replace(usage, cost=cost)

    def complete(self, one: ActiveCall, reply: LLMResponse, target: Target, usage: Usage) -> LLMResponse:
        """The reply with all that the codec could not know. Its id is ours; the provider's own goes into `extra`."""
        extra = reply.extra
        if reply.request_id and reply.request_id != one.request_id:
            extra = {**extra, "provider_request_id": reply.request_id}
        return msgspec.structs.replace(
            reply,
            model=reply.model or target.model,
            provider=target.provider,
            mode=one.mode,
            usage=usage,
            latency=time.monotonic() - one.policy.began,
            request_id=one.request_id,
            created_at=datetime.now(UTC),
            steps=tuple(one.policy.steps),
            extra=extra,
        )

    def finished(self, one: ActiveCall, reply: LLMResponse) -> None:
        target = one.target
        cached = any(step.kind in ("cache_hit", "coalesced") for step in one.policy.steps)
        if target is not None and not cached:
            self._measure(one, target, reply)
        if logger.isEnabledFor(logging.INFO):
            self._log(
                logging.INFO,
                "llm_reply",
                one,
                target,
                latency=round(reply.latency, 4),
                finish=reply.finish_reason,
                input_tokens=reply.usage.input_tokens,
                output_tokens=reply.usage.output_tokens,
                cost=reply.usage.cost,
                attempts=_attempts(one),
                content=reply.content if self._log_content else None,
            )
        if self.recorder is not None:
            self.recorder.record(one.request_id, one.request, reply, None, reply.latency, one.first_content)
        if one.span is not None:
            one.span.finished(reply)

    def failed(self, one: ActiveCall, error: BaseException, reply: LLMResponse | None = None) -> None:
        latency = time.monotonic() - one.policy.began
        if isinstance(error, ThreeModeError):
            if isinstance(error, LLMError) and error.request_id is None:
                error.request_id = one.request_id
            if logger.isEnabledFor(logging.WARNING):
                self._log(
                    logging.WARNING,
                    "llm_error",
                    one,
                    one.target,
                    error=type(error).__name__,
                    detail=error.message,
                    latency=round(latency, 4),
                    attempts=_attempts(one),
                    provider_request_id=getattr(error, "request_id", None),
                )
            if self.recorder is not None:
                self.recorder.record(one.request_id, one.request, reply, error, latency, one.first_content)
        elif logger.isEnabledFor(logging.INFO):
            self._log(logging.INFO, "llm_cancelled", one, one.target, latency=round(latency, 4))
        if one.span is not None:
            one.span.failed(error)

    def _measure(self, one: ActiveCall, target: Target, reply: LLMResponse) -> None:
        first, rate = one.first_content, None
        if first is not None and reply.latency > first and reply.usage.output_tokens > 1:
            rate = reply.usage.output_tokens / (reply.latency - first)
        self.metrics.record(target.provider, target.model, reply.latency, first_content=first, tokens_per_second=rate)

    def _log(self, level: int, name: str, one: ActiveCall, target: Target | None, **fields: Any) -> None:
        event(
            level,
            name,
            one.request_id,
            provider=target.provider if target else None,
            model=target.model if target else None,
            label=one.label,
            steps=[f"{s.kind} {s.provider or ''}/{s.model or ''} {s.why or ''}".strip() for s in one.policy.steps]
            or None,
            **{key: value for key, value in fields.items() if value is not None},
        )


def _attempts(one: ActiveCall) -> int:
    return sum(step.kind == "attempt" for step in one.policy.steps)


_begins = ""
_numbers = count(1)


def _begin_anew() -> None:
    global _begins
    _begins = f"call_{os.urandom(5).hex()}"


_begin_anew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def new_request_id() -> str:
    """The process, by chance, and a number in it: it names a call and guards nothing."""
    return "%s%08x" % (_begins, next(_numbers))  # noqa: UP031  # half the time of an f-string
