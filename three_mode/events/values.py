"""Events of a connection, as frozen values. `event.kind` says which one it is; `as_dict` gives plain data."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.events import kinds
from three_mode.messages import ToolCall, Usage

#: What a call asks for: a whole reply, a streamed one, vectors, or documents in order.
CallVerb = Literal["chat_completion", "stream", "embed", "rerank"]


class AskedAs(Struct, frozen=True, omit_defaults=True):
    """How somebody beyond the program knows a call: a client of the endpoint has an id and a model's name of its
    own."""

    id: str  #: the asker's id of the request
    model: str = ""  #: the model's name as the asker gave it


class LLMEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Something that happened on a connection: the base of all events."""

    kind: ClassVar[str] = ""  #: the kind of the event, one of `KINDS`; `type` in plain data
    time: float  #: when it happened, in seconds since the epoch
    request_id: str | None = None  #: the call that it belongs to; None where it belongs to none
    label: str | None = None  #: who pays for the call
    conversation: str | None = None  #: the conversation that the call belongs to
    agent: str | None = None  #: the agent that made the call
    asked_as: AskedAs | None = None  #: how the endpoint's client knows the call

    def as_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; what is None is left out. `event_from` reads it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in plain.items() if value is not None}


class ResponseStart(LLMEvent, frozen=True, tag=kinds.RESPONSE_START):
    """A call begins."""

    model: str = ""  #: the model that is asked first
    provider: str = ""  #: its provider; "" where none was found
    call: CallVerb = "chat_completion"  #: what is asked for


class ResponseChunk(LLMEvent, frozen=True, tag=kinds.RESPONSE_CHUNK):
    """A piece of a streamed reply."""

    text: str = ""  #: text of the answer
    thinking: str = ""  #: text of what the model thinks


class ResponseComplete(LLMEvent, frozen=True, tag=kinds.RESPONSE_COMPLETE):
    """A call is over, with a reply or an error."""

    model: str = ""  #: the model that answered, or was asked last
    provider: str = ""  #: its provider
    latency: float = 0.0  #: seconds that the call took
    usage: Usage = Usage()  #: tokens and money
    finish_reason: str = ""  #: why the model stopped; "" where it did not
    content: str = ""  #: text of the answer, or of what came before an error
    #: class of the error that ended the call, or "Cancelled"; None where it has its reply
    error: str | None = None
    reused: Literal["cache_hit", "coalesced"] | None = None  #: the reply is one that was there, or of another call


class FunctionCalls(LLMEvent, frozen=True, tag=kinds.FUNCTION_CALLS):
    """A reply calls tools."""

    calls: tuple[ToolCall, ...] = ()  #: the calls, in the model's order


class ToolReturned(LLMEvent, frozen=True, tag=kinds.TOOL_RESULT):
    """A tool call of a run is over. `request_id` is of the model's call that asked for it."""

    call_id: str = ""  #: id of the tool call
    name: str = ""  #: name of the tool
    status: str = "ok"  #: how it ended, as in `ToolOutcome.status`
    content: str = ""  #: text of the result, as the model reads it
    seconds: float = 0.0  #: how long the tool took
    round: int = 1  #: round of the run that the call belongs to


class ConversationCreated(LLMEvent, frozen=True, tag=kinds.CONVERSATION_CREATED):
    """A conversation was made: a new one, a fork, or one that was read in."""

    fork_of: str | None = None  #: the conversation that it was forked from


class ConversationCompacted(LLMEvent, frozen=True, tag=kinds.COMPACTED):
    """Older turns of a conversation were summarised."""

    first: int = 0  #: number of the first turn that the summary stands for
    last: int = 0  #: number of the last one
    model: str = ""  #: the model that wrote the summary
    usage: Usage = Usage()  #: what it cost


class ProviderStatusChange(LLMEvent, frozen=True, tag=kinds.PROVIDER_STATUS_CHANGE):
    """The circuit breaker of a model opened, let a call try the model, or closed."""

    target: str = ""  #: provider and model: `openai/gpt-5`
    status: Literal["closed", "open", "half-open"] = "closed"  #: state of the breaker
    was: Literal["closed", "open", "half-open"] = "closed"  #: state before


class ProviderSwitch(LLMEvent, frozen=True, tag=kinds.PROVIDER_SWITCH):
    """A call goes on with another model, because one failed."""

    target: str = ""  #: provider and model that are asked now
    was: str = ""  #: provider and model that failed
    error: str = ""  #: class of the error


class CallRetry(LLMEvent, frozen=True, tag=kinds.RETRY):
    """A call failed, waits, and is tried again."""

    target: str = ""  #: provider and model that are asked again
    attempt: int = 2  #: which attempt of the call is next
    error: str = ""  #: class of the error


class BudgetUse(LLMEvent, frozen=True, tag=kinds.BUDGET):
    """A budget passed 50, 80 or 100 % of its limit, or refused a call."""

    budget: str = ""  #: name of the budget
    limit: Decimal = Decimal(0)  #: US dollars that it has in all
    left: Decimal = Decimal(0)  #: US dollars that it has left
    used: float = 0.0  #: share of the limit that is spent or set aside, from 0 to 1
    refused: bool = False  #: whether it refused the call


class AnalyticsUpdate(LLMEvent, frozen=True, tag=kinds.ANALYTICS_UPDATE):
    """Totals of the connection so far, told after calls, at most a few times a second."""

    requests: int = 0  #: calls that models answered
    errors: int = 0  #: attempts that failed
    input_tokens: int = 0  #: tokens of prompts
    output_tokens: int = 0  #: tokens of answers
    cached_tokens: int = 0  #: tokens of prompts that providers had in their caches
    cost: Decimal = Decimal(0)  #: US dollars, of calls with a known price
    unpriced: int = 0  #: calls whose price nobody knows


class EventGap(LLMEvent, frozen=True, tag=kinds.GAP):
    """The reader was too slow: events before the next one are lost."""

    count: int = 0  #: how many


EVENT_TYPES: dict[str, type[LLMEvent]] = {
    str(each.__struct_config__.tag): each
    for each in (
        ResponseStart,
        ResponseChunk,
        ResponseComplete,
        FunctionCalls,
        ToolReturned,
        ConversationCreated,
        ConversationCompacted,
        ProviderStatusChange,
        ProviderSwitch,
        CallRetry,
        BudgetUse,
        AnalyticsUpdate,
        EventGap,
    )
}
for _kind, _type in EVENT_TYPES.items():
    _type.kind = _kind
ANY_EVENT: Any = reduce(or_, EVENT_TYPES.values())

#: Takes each event as it happens, on the loop of the call; it is to be quick, and what it raises is logged.
EventListener = Callable[[LLMEvent], object]


def event_from(plain: Mapping[str, Any]) -> LLMEvent:
    """The event that `as_dict` gave as plain data. What is none is an InvalidRequest."""
    try:
        found: LLMEvent = msgspec.convert(dict(plain), ANY_EVENT)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise InvalidRequest(f"this is no event: {error}") from None
    return found
