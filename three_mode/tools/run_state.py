"""State of one run of the tool loop: its limits, what was said so far, and what it took."""

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from three_mode.errors import ConfigurationError, InvalidRequest
from three_mode.frozen_options import FrozenOptions
from three_mode.handling import HandledCall, current, time_for
from three_mode.messages import Chunk, LLMRequest, LLMResponse, Message, Step, ToolCall, Usage
from three_mode.messages.checks import check_tool_choice
from three_mode.modes import CommunicationMode
from three_mode.tools.call_runner import CallRunner
from three_mode.tools.collection import Tools
from three_mode.tools.events import RunEnd, RunReply
from three_mode.tools.outcome import ToolOutcome, outcome_of_left_out
from three_mode.tools.paging import ReadMore
from three_mode.tools.tracing import RunTracing

DEFAULT_WITHIN = 300.0  # seconds of a run that names none
MOST_ROUNDS = 5
_FREE = (("auto",), ("none",))  # choices that force nothing, and hold for all rounds
_EPSILON = 0.005  # seconds by which a call may end before the run does, when the run's deadline has ended it


# Gets the request of a run, the reply that called a tool, and what became of the call.
OutcomeListener = Callable[[LLMRequest, LLMResponse | None, ToolOutcome], object]


class AnswerStream(Protocol):
    """A streamed reply, as the loop reads it."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...
    def __aenter__(self) -> Coroutine[Any, Any, Any]: ...
    async def aclose(self) -> None: ...
    def response(self) -> LLMResponse: ...


class RunLimits(FrozenOptions, frozen=True, kw_only=True):
    """Limits of one run."""

    most_rounds: int = MOST_ROUNDS  #: most calls to the model
    within: float | None = None  #: seconds; None: what remains of the call being handled, at most 300
    budget: Decimal | float | None = None  #: US dollars, after which no round begins; None: no limit
    #: `tool_choice` of the first round alone, such as "required"; of several, one for each of the first rounds
    tool_choice: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.most_rounds < 1:
            raise ConfigurationError(f"most_rounds is at least 1, not {self.most_rounds}")
        if self.budget is not None and not self.budget > 0:
            raise ConfigurationError(f"budget is above 0, not {self.budget}")


class RunState:
    """State of one run: what was said so far, and what it took."""

    def __init__(
        self,
        request: LLMRequest,
        tools: Tools,
        limits: RunLimits,
        told: OutcomeListener | None = None,
        tracing: RunTracing | None = None,
    ) -> None:
        """`told` hears of each tool call that is over."""
        self.tools, self.limits, self._told = tools, limits, told
        self.messages = list(request.messages)
        self.outcomes: list[ToolOutcome] = []
        self.steps: list[Step] = []
        self.usage = Usage()
        self.spent = Decimal(0)  # US dollars, by the replies that say
        self._unpriced = ""  # the model of a reply that nobody knows the price of; one on this computer is free
        self.rounds = 0
        self.last: LLMResponse | None = None
        self._read_more: ReadMore | None = None  # once a result was cut
        self.runner: CallRunner | None = None  # the calls that run now
        self.stream: AnswerStream | None = None  # the answer that comes now
        self._ids = {part.id for message in request.messages for part in message.parts if type(part) is ToolCall}
        self.began = time.monotonic()
        handled = current.get()
        self.deadline = self.began + time_for(limits.within, handled, DEFAULT_WITHIN)
        # Calls to the model and of tools run in this context, whose deadline is that of the run.
        self.context: Context = copy_context()
        inherited = HandledCall(handled.agent, handled.turn, self.deadline, handled.trace, handled.chain)
        self.context.run(current.set, inherited)
        self.span = tracing.begin_run() if tracing is not None else None
        if self.span is not None:
            self.context.run(self.span.attach)
        self._request = _with_tools(request, tools)
        self._choices = _choices(request.tool_choice, limits.tool_choice, self._request)

    def next_request(self) -> LLMRequest:
        """The request of the next round. Only the first ones may force a call: else no answer would ever come."""
        choices, number = self._choices, self.rounds
        self.rounds += 1
        choice = choices[number] if number < len(choices) else choices[-1] if choices[-1:] in _FREE else None
        return msgspec.structs.replace(self._request, messages=tuple(self.messages), tool_choice=choice)

    def took(self, reply: LLMResponse, at: float, whole: bool = True) -> None:
        """Adds a reply, or the part of one that came; `at` is when its call began."""
        self.last = reply = self._with_own_ids(reply)
        self.usage += reply.usage
        if reply.usage.cost is not None:
            self.spent += reply.usage.cost
        elif reply.usage != Usage() and reply.mode is not CommunicationMode.AI_PC:
            self._unpriced = reply.model or "the model"
        offset = at - self.began
        self.steps += [msgspec.structs.replace(step, at=step.at + offset) for step in reply.steps]
        if whole and reply.parts:
            self.messages.append(Message("assistant", reply.parts))

    def _with_own_ids(self, reply: LLMResponse) -> LLMResponse:
        """The reply with an id of its own for each call: some models count their calls anew in each reply, and some
        providers refuse an id that a conversation has twice."""
        parts = list(reply.parts)
        for index, part in enumerate(parts):
            if type(part) is not ToolCall:
                continue
            own, number = part.id, self.rounds
            while own in self._ids or not own:
                own, number = f"{part.id or 'call'}_{number}", number + 1
            self._ids.add(own)
            if own != part.id:
                parts[index] = msgspec.structs.replace(part, id=own)
        return reply if parts == list(reply.parts) else msgspec.structs.replace(reply, parts=tuple(parts))

    def took_results(self, outcomes: list[ToolOutcome]) -> None:
        """Adds the results of all calls of the last reply, in their order."""
        self.runner = None
        self.outcomes += outcomes
        if self.tools.pages:
            self._offer_more(outcomes)
        self.messages.append(Message("tool", tuple(outcome.result for outcome in outcomes)))
        for outcome in outcomes:
            words = f"{outcome.call.name}: {outcome.status}, {outcome.seconds * 1e3:.0f} ms"
            self.steps.append(Step("tool", outcome.at, why=words))

    def _offer_more(self, outcomes: list[ToolOutcome]) -> None:
        """Lets the model read on in results that were cut: from the first of them on it has a tool for that."""
        for outcome in outcomes:
            if outcome.whole is None:
                continue
            if self._read_more is None:
                self._read_more = ReadMore()
                self.tools = self.tools.plus(self._read_more)
                offered = (*self._request.tools, self.tools.specs[-1])
                self._request = msgspec.structs.replace(self._request, tools=offered)
            self._read_more.add(outcome.call.id, outcome.whole)

    def leave_out(self, calls: tuple[ToolCall, ...], why: str) -> None:
        """Gives each call of the last reply a result that says why it did not run: providers want one for each."""
        if not calls:
            return
        at = time.monotonic() - self.began
        outcomes = [outcome_of_left_out(call, self.rounds, at, why) for call in calls]
        self.took_results(outcomes)
        for outcome in outcomes:
            self.tell(outcome)

    def tell(self, outcome: ToolOutcome) -> None:
        """Tells who listens of a tool call that is over."""
        if self._told is not None:
            self._told(self._request, self.last, outcome)

    def over(self) -> tuple[RunEnd, str] | None:
        """The limit that forbids another round, and its words."""
        limits = self.limits
        if self.rounds >= limits.most_rounds:
            return "rounds", f"the limit of {limits.most_rounds} rounds is reached"
        if limits.budget is not None:
            budget = Decimal(str(limits.budget))
            if self._unpriced:
                why = f"nobody knows what {self._unpriced} costs, so that the budget of ${budget} cannot be kept"
                return "budget", why
            if self.spent >= budget:
                return "budget", f"${self.spent} of the budget of ${budget} are spent"
        if self.is_late():
            return "deadline", self.late_words()
        return None

    def is_late(self) -> bool:
        """Whether the time of the run is over."""
        return time.monotonic() >= self.deadline - _EPSILON

    def late_words(self) -> str:
        return f"the {self.deadline - self.began:g} seconds of the run are over"

    def so_far(self) -> RunReply:
        """The reply of a run that is not over. Calls that have no result yet were left."""
        reply = self.reply("cancelled")
        if self.stream is not None:
            reply = msgspec.structs.replace(reply, parts=self.stream.response().parts, finish_reason="cancelled")
        if self.runner is not None:
            outcomes = self.runner.outcomes
            results = Message("tool", tuple(outcome.result for outcome in outcomes))
            reply = msgspec.structs.replace(
                reply, outcomes=(*reply.outcomes, *outcomes), messages=(*reply.messages, results)
            )
        return reply

    def reply(self, ended: RunEnd, why: str = "") -> RunReply:
        """The reply of the run as it stands."""
        last = self.last or LLMResponse(finish_reason="cancelled")
        steps = self.steps
        if why:
            steps = [*steps, Step("ended", time.monotonic() - self.began, why=why)]
        return RunReply(
            parts=last.parts,
            model=last.model,
            provider=last.provider,
            mode=last.mode,
            usage=self.usage,
            finish_reason=last.finish_reason,
            latency=time.monotonic() - self.began,
            request_id=last.request_id,
            created_at=last.created_at,
            steps=tuple(steps),
            extra=last.extra,
            messages=tuple(self.messages),
            outcomes=tuple(self.outcomes),
            rounds=self.rounds,
            ended=ended,
            ended_why=why,
        )


def _with_tools(request: LLMRequest, tools: Tools) -> LLMRequest:
    if request.prompt is not None:
        raise InvalidRequest("a run needs messages, and not a bare prompt", field="prompt", hint="ask without tools")
    unknown = next((tool.name for tool in request.tools if tool.name not in tools.by_name), None)
    if unknown is not None:
        raise InvalidRequest(
            f"the request has a tool {unknown!r} that the run cannot call", field="tools", hint="give it in tools="
        )
    return msgspec.structs.replace(request, tools=request.tools or tools.specs) if tools.tools else request


def _choices(own: str | None, given: str | Sequence[str] | None, request: LLMRequest) -> tuple[str, ...]:
    """The choices of tools of the first rounds; InvalidRequest for one that names no tool."""
    chosen = own if given is None else given
    choices = (chosen,) if isinstance(chosen, str) else tuple(chosen or ())
    for choice in choices:
        check_tool_choice(choice, request.tools)
    return choices
