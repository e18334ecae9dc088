"""What happens to the calls of one connection, as events for its hub. Made when somebody first listens."""

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from three_mode.calls.running_totals import RunningTotals
from three_mode.errors import AllProvidersFailed, BudgetExceeded
from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import BUDGET, PROVIDER_STATUS_CHANGE, PROVIDER_SWITCH, RETRY, TOOL_RESULT
from three_mode.events.telling import Whose, tell_chunks, tell_end, tell_reply, tell_start, whose
from three_mode.events.values import BudgetUse, CallRetry, CallVerb, ProviderStatusChange, ProviderSwitch, ToolReturned
from three_mode.messages import Chunk, LLMRequest, LLMResponse, Step, Text, Usage
from three_mode.observe.logs import logger
from three_mode.observe.metrics import Metrics
from three_mode.policies import CallContext, SpendingLedger, Target

if TYPE_CHECKING:
    from three_mode.policies.breaker import State
    from three_mode.tools.outcome import ToolOutcome

MARKS = (0.5, 0.8, 1.0)  # shares of a budget's limit that are told when they are passed
StepListener = Callable[[str, Step], object]


class ToldCall(Protocol):
    """A call, as its events see it."""

    request: LLMRequest
    request_id: str
    context: CallContext
    label: str | None
    target: Target | None
    whose: Whose | None

    @property
    def reused(self) -> Any: ...


def conversation_of(metadata: Mapping[str, Any]) -> str | None:
    """The conversation that a request belongs to."""
    name = metadata.get("conversation")
    return None if name is None else str(name)


class CallEvents:
    """Tells the hub, and the listeners to steps, of the calls of one connection."""

    def __init__(self, hub: ConnectionHub, ledger: SpendingLedger, metrics: Metrics) -> None:
        self.hub, self._ledger = hub, ledger
        self.totals = RunningTotals(hub, ledger, metrics)
        self.step_listeners: list[StepListener] = []
        self._marks: dict[str, float] = {}  # budget -> the highest mark that was told

    # A call, from its beginning to its end

    def begin(self, call: ToldCall, target: Target, verb: CallVerb) -> None:
        """A call begins."""
        tell_start(self.hub, self._whose(call), target.model, target.provider, verb)
        call.context.listener = partial(self.step, call)
        for step in call.context.steps:
            self.step(call, step)

    def refuse(
        self, request: LLMRequest, request_id: str, label: str | None, verb: CallVerb, error: BaseException
    ) -> None:
        """A call ended before it was known whom to ask."""
        who, model = whose(request_id, label, conversation_of(request.metadata)), request.model or ""
        tell_start(self.hub, who, model, "", verb)
        tell_end(self.hub, who, model=model, provider="", latency=0.0, error=error)

    def chunks(self, call: ToldCall, batch: Sequence[Chunk]) -> None:
        """Pieces of a streamed reply have come."""
        tell_chunks(self.hub, partial(self._whose, call), batch)

    def finish(self, call: ToldCall, reply: LLMResponse) -> None:
        """A call has its reply."""
        tell_reply(self.hub, self._whose(call), reply, call.reused)
        self._after_call()

    def fail(self, call: ToldCall, error: BaseException, reply: LLMResponse | None) -> None:
        """A call ended with an error; `reply` is what came before it."""
        target, who = call.target, self._whose(call)
        if BUDGET in self.hub.wanted and _over_budget(error) and target is not None:
            self._tell_refusal(target, call.label, who)
        tell_end(
            self.hub,
            who,
            model=target.model if target is not None else "",
            provider=target.provider if target is not None else "",
            latency=time.monotonic() - call.context.began,
            error=error,
            content=reply.content if reply is not None else "",
        )
        self._after_call()

    def step(self, call: ToldCall, step: Step) -> None:
        """A call took a step."""
        for listener in tuple(self.step_listeners):
            try:
                listener(call.request_id, step)
            except Exception:  # noqa: BLE001  # an observer ends no call
                logger.exception("step_listener_failed", extra={"event": "step_listener_failed"})
        hub, target = self.hub, f"{step.provider}/{step.model}"
        if step.kind == "switched" and PROVIDER_SWITCH in hub.wanted:
            was, error = _reason(step)
            hub.publish(ProviderSwitch(time=time.time(), **self._whose(call), target=target, was=was, error=error))
        elif step.kind == "retry" and RETRY in hub.wanted:
            attempt = 1 + sum(each.kind == "attempt" for each in call.context.steps)
            error = _reason(step)[1]
            hub.publish(CallRetry(time=time.time(), **self._whose(call), target=target, attempt=attempt, error=error))

    # Calls for vectors, or for documents in order

    def begin_single(self, request_id: str, label: str | None, target: Target, verb: CallVerb) -> Whose:
        """Such a call begins; what its end needs."""
        who = whose(request_id, label)
        tell_start(self.hub, who, target.model, target.provider, verb)
        return who

    def end_single(
        self, who: Whose, target: Target, began: float, usage: Usage, error: BaseException | None = None
    ) -> None:
        """Such a call is over."""
        latency = time.monotonic() - began
        tell_end(self.hub, who, model=target.model, provider=target.provider, latency=latency, usage=usage, error=error)
        self._after_call()

    # Beside calls

    def tool_returned(
        self, request: LLMRequest, label: str | None, reply: LLMResponse | None, outcome: "ToolOutcome"
    ) -> None:
        """A tool call of a run is over."""
        if TOOL_RESULT not in self.hub.wanted:
            return
        content = outcome.result.content
        text = content if isinstance(content, str) else "".join(part.text for part in content if type(part) is Text)
        who = whose(reply.request_id if reply is not None else None, label, conversation_of(request.metadata))
        self.hub.publish(
            ToolReturned(
                time=time.time(),
                **who,
                call_id=outcome.call.id,
                name=outcome.call.name,
                status=outcome.status,
                content=text,
                seconds=outcome.seconds,
                round=outcome.round,
            )
        )

    def provider_changed(self, target: Target, was: "State", status: "State") -> None:
        """A circuit breaker has another state."""
        if PROVIDER_STATUS_CHANGE in self.hub.wanted:
            self.hub.publish(ProviderStatusChange(time=time.time(), target=str(target), status=status, was=was))

    # Inside

    def _whose(self, call: ToldCall) -> Whose:
        if call.whose is None:
            call.whose = whose(call.request_id, call.label, conversation_of(call.request.metadata))
        return call.whose

    def _after_call(self) -> None:
        if self._ledger.has_budgets and BUDGET in self.hub.wanted:
            self._tell_marks()
        self.totals.tell_soon()

    def _tell_marks(self) -> None:
        """Tell of budgets that have passed a mark since they were last told of."""
        for budget, limit, left in self._ledger.standings():
            used = _share(limit, left)
            mark = max((each for each in MARKS if used >= each), default=0.0)
            if mark > self._marks.get(budget.name, 0.0):
                self.hub.publish(BudgetUse(time=time.time(), budget=budget.name, limit=limit, left=left, used=used))
            self._marks[budget.name] = mark

    def _tell_refusal(self, target: Target, label: str | None, who: Whose) -> None:
        """Tell of the budgets that a refused call counts towards."""
        for budget, limit, left in self._ledger.standings():
            if budget.fits(target.provider, target.model, label):
                self.hub.publish(
                    BudgetUse(
                        time=time.time(),
                        **who,
                        budget=budget.name,
                        limit=limit,
                        left=left,
                        used=_share(limit, left),
                        refused=True,
                    )
                )


def _share(limit: Decimal, left: Decimal) -> float:
    return float((limit - left) / limit) if limit else 1.0


def _over_budget(error: BaseException) -> bool:
    causes = error.causes if isinstance(error, AllProvidersFailed) else (error,)
    return any(isinstance(cause, BudgetExceeded) for cause in causes)


def _reason(step: Step) -> tuple[str, str]:
    """What a step's reason begins with, and the class of the error: its text may quote a provider."""
    before, _, rest = (step.why or "").partition(": ")
    return before, rest.partition(": ")[0]
