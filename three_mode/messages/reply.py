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

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "cancelled", "unknown"]


class Step(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a call before its answer: an attempt, a wait, a cache hit, a switch of provider and why.

    `at` is in seconds after the call began.
    """

    kind: Literal["attempt", "retry", "wait", "cache_hit", "coalesced", "hedged", "switched", "routed"]
    at: float = 0.0
    provider: str | None = None
    model: str | None = None
    why: str | None = None


class LLMResponse(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole answer. `content` is its text; `parts` has all of it, in order, thinking and tool calls included."""

    parts: tuple[Part, ...] = ()
    model: str = ""
    provider: str = ""
    mode: CommunicationMode = CommunicationMode.HUMAN_AI
    usage: Usage = Usage()
    finish_reason: FinishReason = "stop"
    latency: float = 0.0
    request_id: str = ""
    created_at: datetime = field(default_factory=partial(datetime.now, UTC))
    steps: tuple[Step, ...] = ()
    extra: dict[str, Any] = {}

    @property
    def content(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def parse(self, kind: type[T]) -> T:
        """The content as JSON of that type; msgspec's error names the place where it does not fit."""
        return msgspec.json.decode(self.content, type=kind)
