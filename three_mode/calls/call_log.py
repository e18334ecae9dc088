"""Log of a connection's calls: completes replies, settles what they cost, and writes metrics, logs, records and spans.

One place for whole replies, streams and the agents' fast path.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from three_mode.calls.call_book import CallAccount, CallBook, CountedCall
from three_mode.dispatcher import HERE, mode_of
from three_mode.errors import LLMError, ThreeModeError
from three_mode.events.hub import ConnectionHub
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Start, Step, Usage, UsageUpdate
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import event, logger
from three_mode.observe.metrics import Metrics
from three_mode.policies import CallContext, PriceList, Prices, SpendingLedger, Target
from three_mode.providers.profile import Profile

if TYPE_CHECKING:
    from three_mode.calls.call_events import CallEvents, StepListener
    from three_mode.events.values import CallVerb
    from three_mode.observe.records import RecordWriter
    from three_mode.observe.spans import CallSpan, CallTracer, SingleSpan


class FailedFirstAttempt(NamedTuple):
    """A first attempt that failed on a fast path: what the pipeline goes on from."""

    began: float
    deadline: float
    error: ThreeModeError
    blamed: bool | None = None
    """Whether its gate has counted it as a failure of its target. None: it left the gate without a judgement, which the
    pipeline makes, as if the attempt ended there."""


class ActiveCall(Struct, eq=False):
    """A call of the user's from beginning to end."""

    request: LLMRequest
    request_id: str
    context: CallContext
    label: str | None = None
    target: Target | None = None
    """The model that answers, once that is known."""
    targets: Sequence[Target] = ()
    """The models that may answer, in order."""
    route: str | None = None
    """The name of the route that named them."""
    first_content: float | None = None
    """When its first content came, in seconds after it began."""
    reused: Literal["cache_hit", "coalesced"] | None = None
    """The reply is not of an attempt of this call."""
    provider_id: str = ""
    """The provider's own id of a streamed reply."""
    span: "CallSpan | None" = None
    failed: ThreeModeError | None = None
    """How its first attempt ended, where that was made already: see agent_fast_path.py and provider_fast_path.py."""
    failed_blamed: bool | None = None
    """As in `FailedFirstAttempt`."""
    account: CallAccount = field(default_factory=CallAccount)
    whose: dict[str, Any] | None = None
    """The fields that its events share, once there is an event."""

    def raise_first_failure(self) -> None:
        """Raise how the first attempt ended, where that was made already; in the place of that attempt, and once."""
        if self.failed is not None:
            failed, self.failed = self.failed, None
            raise failed


def completed_reply(
    reply: LLMResponse,
    target: Target,
    mode: CommunicationMode,
    usage: Usage,
    began: float,
    request_id: str,
    created_at: datetime,
    steps: tuple[Step, ...],
) -> LLMResponse:
    """The reply with all that a codec could not know. Its id is ours; the provider's own goes into `extra`."""
    extra = reply.extra
    if reply.request_id and reply.request_id != request_id:
        extra = {**extra, "provider_request_id": reply.request_id}
    return replace(
        reply,
        model=reply.model or target.model,
        provider=target.provider,
        mode=mode,
        usage=usage,
        latency=time.monotonic() - began,
        request_id=request_id,
        created_at=created_at,
        steps=steps,
        extra=extra,
    )


class CallLog:
    """The spending ledger, metrics and records of a connection."""

    def __init__(
        self,
        prices: PriceList,
        ledger: SpendingLedger,
        metrics: Metrics,
        recorder: "RecordWriter | None",
        tracer: "CallTracer | None",
        log_content: bool,
    ) -> None:
        self.prices = prices
        self.ledger = ledger
        self.metrics = metrics
        self.recorder = recorder
        self.book = CallBook(recorder)
        self._tracer = tracer
        self._log_content = log_content
        self.hub = ConnectionHub(self._audience_changed)
        self.events: CallEvents | None = None
        """Tells what happens to calls; None where nobody listens."""
        self._made_events: CallEvents | None = None

    @property
    def traces(self) -> bool:
        return self._tracer is not None

    def watch_steps(self, listener: "StepListener") -> Callable[[], None]:
        """Call `listener` at each step of the calls that begin from now on, until the returned function is called."""
        self._make_events().step_listeners.append(listener)
        self._audience_changed()
        return partial(self._unwatch_steps, listener)

    def _unwatch_steps(self, listener: "StepListener") -> None:
        listeners = self._make_events().step_listeners
        if listener in listeners:
            listeners.remove(listener)
        self._audience_changed()

    def _audience_changed(self) -> None:
        """Somebody began to listen, or left."""
        made = self._made_events
        if self.hub.wanted or (made is not None and made.step_listeners):
            self.events = self._make_events()
        else:
            self.events = None

    def _make_events(self) -> "CallEvents":
        if self._made_events is None:
            from three_mode.calls.call_events import CallEvents

            self._made_events = CallEvents(self.hub, self.ledger, self.metrics)
        return self._made_events

    def close_events(self) -> None:
        """End all who read events, once they have the last ones."""
        if self._made_events is not None:
            self._made_events.totals.flush()
        self.hub.close()

    def begin_call(self, call: ActiveCall, targets: Sequence[Target], verb: "CallVerb" = "chat_completion") -> None:
        """Begin the span of a call, log it, and tell who listens."""
        if self.events is not None:
            self.events.begin(call, targets[0], verb)
        if self._tracer is not None and call.span is None:
            first, streamed = targets[0], verb == "stream"
            call.span = self._tracer.begin(call.request, first.provider, first.model, call.request_id, streamed)
        if logger.isEnabledFor(logging.DEBUG):
            self._log(
                logging.DEBUG,
                "llm_request",
                call,
                targets[0],
                messages=len(call.request.messages),
                tokens=call.context.tokens,
                content=[message.text for message in call.request.messages] if self._log_content else None,
            )

    def begin_single(
        self, operation: str, request_id: str, target: Target, dimensions: int | None = None
    ) -> "SingleSpan | None":
        """Begin the span of a call for vectors, or for documents in order, where calls are traced."""
        if self._tracer is None:
            return None
        return self._tracer.begin_single(operation, target.provider, target.model, request_id, dimensions)

    def cost(self, target: Target, usage: Usage, profile: Profile) -> Decimal | None:
        """The cost by the provider's prices, times the factor by which it counts tokens. None: nobody knows a price."""
        cost = self.prices.cost(target.provider, target.model, usage)
        if cost is None:
            return None
        factor = profile.multiplier(target.model)
        return cost if factor == 1.0 else cost * Decimal(str(factor))

    def has_price(self, target: Target) -> bool:
        """Whether somebody may know what it costs: of a target on this machine, only a price that the user gave says
        it."""
        prices = self.prices
        return target.provider not in HERE or type(prices) is not Prices or prices.gave(target.provider, target.model)

    def with_cost(self, target: Target, usage: Usage, profile: Profile) -> Usage:
        """The usage with what it costs, where somebody knows."""
        cost = usage.cost if usage.cost is not None else self.cost(target, usage, profile)
        return usage if cost is None else replace(usage, cost=cost)

    # An attempt ends

    def settle_attempt(
        self, call: CountedCall, target: Target, reserved: Decimal, usage: Usage, profile: Profile
    ) -> Usage:
        """Book what an attempt used in place of what was reserved for it. The usage, with its cost."""
        cost = usage.cost if usage.cost is not None else self.cost(target, usage, profile)
        if cost is not None:
            usage = replace(usage, cost=cost)
        self.ledger.settle(target.provider, target.model, call.label, reserved, usage)
        self.book.add_use(call, target, usage)
        return usage

    def fail_attempt(self, call: CountedCall, target: Target, reserved: Decimal, error: BaseException) -> None:
        """Free what was reserved for an attempt that failed. It counts for the provider that failed, also where another
        one answers."""
        self.ledger.settle(target.provider, target.model, call.label, reserved, None)
        if isinstance(error, ThreeModeError):
            self.count_failure(call, target, error)

    def count_failure(self, call: CountedCall, target: Target, error: ThreeModeError) -> None:
        """Count the failure of an attempt."""
        self.metrics.failed(target.provider, target.model, error)
        self.book.add_failure(call, target, error)

    # A reply is completed

    def complete_reply(self, call: ActiveCall, reply: LLMResponse, usage: Usage) -> LLMResponse:
        """A whole reply as the caller of this call gets it."""
        target, context = call.target, call.context
        assert target is not None
        return completed_reply(
            reply,
            target,
            mode_of(target),
            usage,
            context.began,
            call.request_id,
            datetime.now(UTC),
            tuple(context.steps),
        )

    def complete_chunk(self, call: ActiveCall, chunk: Chunk, profile: Profile) -> Chunk:
        """A chunk of a streamed reply as its reader gets it: the same as for a whole reply, spread over the chunks that
        say it."""
        target = call.target
        assert target is not None
        if type(chunk) is UsageUpdate:
            return chunk if call.reused == "cache_hit" else UsageUpdate(self.with_cost(target, chunk.usage, profile))
        if type(chunk) is Start:
            if chunk.request_id != call.request_id:
                call.provider_id = chunk.request_id
            return Start(
                chunk.model or target.model,
                target.provider,
                mode_of(target),
                call.request_id,
                datetime.now(UTC),
                tuple(call.context.steps),
            )
        if type(chunk) is Finish:
            return replace(
                chunk,
                latency=time.monotonic() - call.context.began,
                steps=tuple(call.context.steps),
                extra={**chunk.extra, "provider_request_id": call.provider_id} if call.provider_id else chunk.extra,
            )
        return chunk

    # A call ends

    def finish_call(self, call: ActiveCall, reply: LLMResponse) -> None:
        """Write down a call that has its reply."""
        target = call.target
        if target is not None and call.reused is None:
            self._measure(call, target, reply)
        if logger.isEnabledFor(logging.INFO):
            self._log(
                logging.INFO,
                "llm_reply",
                call,
                target,
                latency=round(reply.latency, 4),
                finish=reply.finish_reason,
                input_tokens=reply.usage.input_tokens,
                output_tokens=reply.usage.output_tokens,
                cost=reply.usage.cost,
                attempts=_attempts(call),
                content=reply.content if self._log_content else None,
            )
        self.book.close(call, reply.latency, reply)
        if call.span is not None:
            call.span.finished(reply, call.first_content)
        if self.events is not None:
            self.events.finish(call, reply)

    def fail_call(self, call: ActiveCall, error: BaseException, reply: LLMResponse | None = None) -> None:
        """Write down a call that ended with an error; `reply` is what came before it."""
        latency = time.monotonic() - call.context.began
        if isinstance(error, ThreeModeError):
            if isinstance(error, LLMError) and error.request_id is None:
                error.request_id = call.request_id
            if logger.isEnabledFor(logging.WARNING):
                self._log(
                    logging.WARNING,
                    "llm_error",
                    call,
                    call.target,
                    error=type(error).__name__,
                    detail=error.message,
                    latency=round(latency, 4),
                    attempts=_attempts(call),
                    provider_request_id=getattr(error, "request_id", None),
                )
        elif logger.isEnabledFor(logging.INFO):
            self._log(logging.INFO, "llm_cancelled", call, call.target, latency=round(latency, 4))
        self.book.close(call, latency, reply, error)
        if call.span is not None:
            call.span.failed(error, reply, call.first_content)
        if self.events is not None:
            self.events.fail(call, error, reply)

    def book_batched(
        self,
        target: Target,
        label: str | None,
        reserved: Decimal,
        request_id: str,
        request: LLMRequest | None,
        outcome: LLMResponse | ThreeModeError,
        latency: float,
    ) -> None:
        """Write down a request that its provider answered in a batch, within a day: that latency says nothing of the
        model. Without a request another process made it."""
        reply, error = (outcome, None) if isinstance(outcome, LLMResponse) else (None, outcome)
        usage = reply.usage if reply is not None else None
        self.ledger.settle(target.provider, target.model, label, reserved, usage)
        if error is None:
            self.metrics.count(target.provider, target.model)
        else:
            self.metrics.failed(target.provider, target.model, error)
        self.book.add_batched(target, label, request_id, request, outcome, latency)

    def _measure(self, call: ActiveCall, target: Target, reply: LLMResponse) -> None:
        first, rate = call.first_content, None
        if first is not None and reply.latency > first and reply.usage.output_tokens > 1:
            rate = reply.usage.output_tokens / (reply.latency - first)
        self.metrics.record(target.provider, target.model, reply.latency, first_content=first, tokens_per_second=rate)

    def _log(self, level: int, name: str, call: ActiveCall, target: Target | None, **fields: Any) -> None:
        event(
            level,
            name,
            call.request_id,
            provider=target.provider if target else None,
            model=target.model if target else None,
            label=call.label,
            steps=[f"{s.kind} {s.provider or ''}/{s.model or ''} {s.why or ''}".strip() for s in call.context.steps]
            or None,
            **{key: value for key, value in fields.items() if value is not None},
        )


def _attempts(call: ActiveCall) -> int:
    return sum(step.kind == "attempt" for step in call.context.steps)


_begins = ""
_numbers = count(1)


def _renew_prefix() -> None:
    global _begins
    _begins = f"call_{os.urandom(5).hex()}"


_renew_prefix()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_prefix)


def new_request_id() -> str:
    """The process, by chance, and a number in it: it names a call and guards nothing."""
    return "%s%08x" % (_begins, next(_numbers))  # noqa: UP031  # half the time of an f-string
