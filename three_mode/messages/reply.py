"""Answer of a model, and the steps that led to it."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from three_mode.messages.parts import Part, Text, Thinking, ToolCall
from three_mode.messages.usage import Usage
from three_mode.modes import CommunicationMode

T = TypeVar("T")

#: Why an answer ended. "pause": the provider expects another call that continues the answer; "cancelled": the caller
#: left.
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "cancelled", "unknown"]


class Step(Struct, frozen=True, omit_defaults=True):
    """One step of a call before its answer: an attempt, a wait, a cache hit, a switch of provider; of a run with tools
    also a tool call, and the limit that ended it."""

    #: what happened
    kind: Literal[
        "attempt",
        "retry",
        "wait",
        "cache_hit",
        "coalesced",
        "hedged",
        "switched",
        "routed",
        "left_out",
        "tool",
        "ended",
    ]
    at: float = 0.0  #: seconds after the call began
    provider: str | None = None  #: the provider that the step concerns
    model: str | None = None  #: the model that the step concerns
    why: str | None = None  #: the reason, for people


class LLMResponse(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole answer. `content` is its text; `parts` holds text, thinking and tool calls in order."""

    parts: tuple[Part, ...] = ()  #: the answer: text, thinking and tool calls, in order
    model: str = ""  #: the model that answered
    provider: str = ""  #: the provider that answered, which may be a fallback
    mode: CommunicationMode = CommunicationMode.HUMAN_AI  #: how the model was reached
    usage: Usage = Usage()  #: tokens used, and their cost
    finish_reason: FinishReason = "stop"  #: why the answer ended
    latency: float = 0.0  #: seconds from the call to the whole answer
    request_id: str = ""  #: id of the call in records and logs
    created_at: datetime = field(default_factory=partial(datetime.now, UTC))  #: when the answer was made, in UTC
    steps: tuple[Step, ...] = ()  #: attempts, waits, cache hits and switches of provider on the way
    extra: dict[str, Any] = {}  #: fields of the provider's reply that have no name here

    @property
    def content(self) -> str:
        """The text of the answer, without thinking and tool calls."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        """The text of the model's thinking; "" where it shows none."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the answer, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def parse(self, kind: type[T]) -> T:
        """Parses the content as JSON of type `kind`; msgspec's error names the place that does not fit."""
        return msgspec.json.decode(self.content, type=kind)
