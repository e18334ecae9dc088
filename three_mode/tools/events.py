"""Events of a run, as `llm.run_stream` gives them. Every event has `text`; it is "" where the event carries no text."""

from typing import ClassVar, Literal

from msgspec import Struct

from three_mode.messages import Chunk, LLMResponse, Message, ToolCall
from three_mode.tools.outcome import ToolOutcome

#: What ended a run; "cancelled" until it is over, and where it was left.
RunEnd = Literal["answer", "rounds", "deadline", "budget", "cancelled"]


class RunReply(LLMResponse, frozen=True, omit_defaults=True, kw_only=True):
    """Reply of a run: the model's last answer, and all that led to it.

    `usage` is the sum of all rounds, `latency` the time of the whole run, and `steps` has those of each call to the
    model and of each tool call. `messages` can be continued: every call in them has its result.
    """

    messages: tuple[Message, ...] = ()  #: the conversation: those of the request, and all that came after
    outcomes: tuple[ToolOutcome, ...] = ()  #: every tool call, in the order in which the model made them
    rounds: int = 0  #: calls to the model
    #: what ended it: "answer" (the model calls no more tools), "rounds", "deadline" or "budget"; "cancelled" where it
    #: was left, or is not over
    ended: RunEnd = "answer"
    ended_why: str = ""  #: the limit in words; "" for an answer


class _RunEvent(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """Base of the events that are no chunks of a model's answer; `type` names the kind on the wire."""


class RoundStarted(_RunEvent, frozen=True, tag="round"):
    """A call to the model begins."""

    text: ClassVar[str] = ""  #: always ""
    number: int  #: the first is 1


class ToolStarted(_RunEvent, frozen=True, tag="tool_started"):
    """A tool call begins; with `approve`, the question about it does."""

    text: ClassVar[str] = ""  #: always ""
    call: ToolCall  #: the call, as the model made it
    round: int = 1  #: round that it belongs to


class ToolFinished(_RunEvent, frozen=True, tag="tool_finished"):
    """A tool call is over. Calls that run side by side finish in any order; their results go back in that of the
    calls."""

    text: ClassVar[str] = ""  #: always ""
    outcome: ToolOutcome  #: how it ended


class RunFinished(_RunEvent, frozen=True, tag="run_finished"):
    """The run is over; nothing follows."""

    text: ClassVar[str] = ""  #: always ""
    reply: RunReply  #: what `llm.run` returns


#: Any event of a run: a chunk of the model's answer, or one of the above.
RunEvent = Chunk | RoundStarted | ToolStarted | ToolFinished | RunFinished
