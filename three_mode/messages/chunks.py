"""Chunks of a streamed answer. Every chunk has `text`; it is "" where the chunk carries no text.

`index` distinguishes the blocks of an answer: all deltas of one kind and index belong to one part.
"""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

from three_mode.messages.reply import FinishReason, Step
from three_mode.messages.usage import Usage
from three_mode.modes import CommunicationMode


class _Chunk(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """Base of the chunks: a frozen struct; `type` names the kind on the wire."""


class Start(_Chunk, frozen=True, tag="start"):
    """Start of an answer. A start is no content: a provider may send one long before the first token."""

    text: ClassVar[str] = ""  #: always ""
    model: str = ""  #: the model that answers
    provider: str = ""  #: the provider that answers
    mode: CommunicationMode = CommunicationMode.HUMAN_AI  #: how the model is reached
    request_id: str = ""  #: id of the call in records and logs
    created_at: datetime | None = None  #: when the answer began, in UTC
    steps: tuple[Step, ...] = ()  #: steps before the first content: attempts, waits, switches of provider


class TextDelta(_Chunk, frozen=True, tag="text"):
    """More of the answer's text."""

    text: str  #: the next piece
    index: int = 0  #: which block of text it belongs to


class ThinkingDelta(_Chunk, frozen=True, tag="thinking"):
    """More of the model's thinking, or the signature that ends it."""

    text: ClassVar[str] = ""  #: always ""; the words are in `thinking`
    thinking: str = ""  #: the next piece
    signature: str | None = None  #: as in `Thinking`
    redacted: str | None = None  #: as in `Thinking`
    provider: str | None = None  #: as in `Thinking`
    index: int = 0  #: which block of thinking it belongs to


class ToolDelta(_Chunk, frozen=True, tag="tool"):
    """More of a tool call: its id and name come once, its arguments as pieces of JSON text."""

    text: ClassVar[str] = ""  #: always ""
    index: int = 0  #: which call it belongs to
    id: str | None = None  #: id of the call
    name: str | None = None  #: name of the tool
    arguments: str = ""  #: the next piece of the arguments, as JSON text
    signature: str | None = None  #: as in `ToolCall`


class UsageUpdate(_Chunk, frozen=True, tag="usage"):
    """Usage so far; the last update of an answer counts."""

    text: ClassVar[str] = ""  #: always ""
    usage: Usage = Usage()  #: tokens and cost so far


class Finish(_Chunk, frozen=True, tag="finish"):
    """End of a whole answer."""

    text: ClassVar[str] = ""  #: always ""
    reason: FinishReason = "stop"  #: why the answer ended
    latency: float = 0.0  #: seconds from the call to the whole answer
    steps: tuple[Step, ...] = ()  #: attempts, waits, cache hits and switches of provider on the way
    extra: dict[str, Any] = {}  #: fields of the provider's reply that have no name here


#: Any chunk of a stream.
Chunk = Start | TextDelta | ThinkingDelta | ToolDelta | UsageUpdate | Finish
