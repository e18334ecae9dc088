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

    text: ClassVar[str] = ""
    model: str = ""
    provider: str = ""
    mode: CommunicationMode = CommunicationMode.HUMAN_AI
    request_id: str = ""
    created_at: datetime | None = None


class TextDelta(_Chunk, frozen=True, tag="text"):
    """More of the answer's text."""

    text: str
    index: int = 0


class ThinkingDelta(_Chunk, frozen=True, tag="thinking"):
    """More of what the model thinks, or the signature that ends it."""

    text: ClassVar[str] = ""
    thinking: str = ""
    signature: str | None = None
    redacted: str | None = None
    provider: str | None = None
    index: int = 0


class ToolDelta(_Chunk, frozen=True, tag="tool"):
    """More of a tool call: its id and name come once, its arguments as pieces of JSON text."""

    text: ClassVar[str] = ""
    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


class UsageUpdate(_Chunk, frozen=True, tag="usage"):
    """The usage so far; the last one counts."""

    text: ClassVar[str] = ""
    usage: Usage = Usage()


class Finish(_Chunk, frozen=True, tag="finish"):
    """The answer is whole."""

    text: ClassVar[str] = ""
    reason: FinishReason = "stop"
    latency: float = 0.0
    steps: tuple[Step, ...] = ()
    extra: dict[str, Any] = {}


Chunk = Start | TextDelta | ThinkingDelta | ToolDelta | UsageUpdate | Finish
