"""What a model answered, and what happened on the way."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from three_mode.messages.parts import Part, Text, Thinking, ToolCall
from three_mode.messages.usage import Usage
from three_mode.modes import CommunicationMode

T = TypeVar("T")

#: Why an answer ended. "pause": the provider wants to be asked again; "cancelled": the caller left.
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "cancelled", "unknown"]


class Step(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a call before its answer: an attempt, a wait, a cache hit, a switch of provider."""

    #: what happened
    kind: Literal["attempt", "retry", "wait", "cache_hit", "coalesced", "hedged", "switched", "routed"]
    at: float = 0.0  #: seconds after the call began
    provider: str | None = None  #: the provider it happened with
    model: str | None = None  #: the model it happened with
    why: str | None = None  #: the reason, for people


class LLMResponse(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole answer. `content` is its text; `parts` has all of it, in order, thinking and tool calls included."""

    parts: tuple[Part, ...] = ()  #: the answer: text, thinking and tool calls, in order
    model: str = ""  #: the model that answered
    provider: str = ""  #: the provider that answered; not the first one asked where a fallback did
    mode: CommunicationMode = CommunicationMode.HUMAN_AI  #: how the model was reached
    usage: Usage = Usage()  #: tokens used, and their cost
    finish_reason: FinishReason = "stop"  #: why the answer ended
    latency: float = 0.0  #: seconds from the call to the whole answer
    request_id: str = ""  #: id of the call in records and logs
    created_at: datetime = field(default_factory=partial(datetime.now, UTC))  #: when the answer was made, in UTC
    steps: tuple[Step, ...] = ()  #: attempts, waits, cache hits and switches of provider on the way
    extra: dict[str, Any] = {}  #: what the provider said beyond these fields

    @property
    def content(self) -> str:
        """The text of the answer, without thinking and tool calls."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        """The text of what the model thought; "" where it shows none."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def parse(self, kind: type[T]) -> T:
        """The content as JSON of that type; msgspec's error names the place where it does not fit."""
        return msgspec.json.decode(self.content, type=kind)
