"""What a streamed answer is made of. `chunk.text` is there on every kind, and "" where there is no text.

`index` tells the blocks of an answer apart: all deltas of one kind and index belong to one part.
"""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

from three_mode.messages.reply import FinishReason, Step
from three_mode.messages.usage import Usage
from three_mode.modes import CommunicationMode


class _Chunk(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """What the chunks share: frozen, and told apart by `type`."""


class Start(_Chunk, frozen=True, tag="start"):
    """The model began. It is not content: a provider may send it long before the first token."""

    text: ClassVar[str] = ""  #: always ""
    model: str = ""  #: the model that answers
    provider: str = ""  #: the provider that answers
    mode: CommunicationMode = CommunicationMode.HUMAN_AI  #: how the model is reached
    request_id: str = ""  #: id of the call in records and logs
    created_at: datetime | None = None  #: when the answer began, in UTC


class TextDelta(_Chunk, frozen=True, tag="text"):
    """More of the answer's text."""

    text: str  #: the next piece
    index: int = 0  #: which block of text it belongs to


class ThinkingDelta(_Chunk, frozen=True, tag="thinking"):
    """More of what the model thinks, or the signature that ends it."""

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
    """The usage so far; the last one counts."""

    text: ClassVar[str] = ""  #: always ""
    usage: Usage = Usage()  #: all that the call used so far


class Finish(_Chunk, frozen=True, tag="finish"):
    """The answer is whole."""

    text: ClassVar[str] = ""  #: always ""
    reason: FinishReason = "stop"  #: why the answer ended
    latency: float = 0.0  #: seconds from the call to the whole answer
    steps: tuple[Step, ...] = ()  #: attempts, waits, cache hits and switches of provider on the way
    extra: dict[str, Any] = {}  #: what the provider said beyond these fields


#: What a stream is made of.
Chunk = Start | TextDelta | ThinkingDelta | ToolDelta | UsageUpdate | Finish
