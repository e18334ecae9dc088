"""Answer of a model, and the steps that led to it."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from three_mode import pydantic_models
from three_mode.errors import BadReply, InvalidRequest
from three_mode.messages.message import Message
from three_mode.messages.parts import Part, Text, Thinking, ToolCall
from three_mode.messages.usage import NOTHING, Usage
from three_mode.modes import CommunicationMode

T = TypeVar("T")

#: Why an answer ended. "pause": the provider expects another call that continues the answer; "cancelled": the caller
#: left.
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "pause", "cancelled", "unknown"]


class Step(Struct, frozen=True, omit_defaults=True):
    """One step of a call before its answer: an attempt, a wait, a cache hit, a switch of provider; of a run with tools
    also a tool call, and the limit that ended it; of a conversation a window that was made tighter."""

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
        "tightened",
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

    @classmethod
    def of(
        cls, text: str, *, model: str = "", usage: Usage = NOTHING, finish_reason: FinishReason = "stop"
    ) -> "LLMResponse":
        """An answer of one text: what an agent that is a model returns, and a test expects."""
        if not isinstance(text, str):
            raise InvalidRequest(f"an answer is made of a text, not {type(text).__name__}", field="text")
        parts = (Text(text),) if text else ()
        return cls(parts=parts, model=model, usage=usage, finish_reason=finish_reason)

    @property
    def message(self) -> Message:
        """The answer as the next message of the conversation. A request's `messages` take the answer itself too."""
        return Message("assistant", self.parts or "")

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
        """Parses the content as JSON of type `kind`; BadReply names the place that does not fit."""
        try:
            parsed: T = pydantic_models.decode_json(self.content, kind)
        except msgspec.MsgspecError as error:
            named = getattr(kind, "__name__", "") if "[" not in str(kind) else str(kind)
            raise BadReply(
                f"the reply is no {named}: {error}",
                hint="ask with response_format=, and see reply.content",
                provider=self.provider or None,
                model=self.model or None,
                request_id=self.request_id or None,
            ) from None
        except TypeError as error:
            raise InvalidRequest(
                f"parse takes a type, not {kind!r}: {error}", field="kind", hint="reply.parse(dict), or a dataclass"
            ) from None
        return parsed
