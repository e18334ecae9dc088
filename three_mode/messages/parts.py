"""Parts of a message: text, images, tool calls, tool results and thinking.

Each part is a frozen value; `type` names the kind on the wire.
"""

import mimetypes
from pathlib import Path
from typing import Any

from msgspec import Struct

from three_mode.errors import InvalidRequest


class _Part(Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the parts: a frozen struct in which an unknown field is an error; `type` names the kind on the wire."""


class Text(_Part, frozen=True):
    """Plain text."""

    text: str  #: the text
    cache: str | None = None  #: marks the end of a prefix for the provider's cache, and how long it lives: "5m" or "1h"


class Image(_Part, frozen=True):
    """An image by URL or as bytes: exactly one of the two."""

    url: str | None = None  #: https, http, data, gs or file URL of the image
    data: bytes | None = None  #: the image itself
    mime: str | None = None  #: type of `data`, such as "image/png"
    detail: str | None = None  #: the provider's word for the resolution, such as "low"
    cache: str | None = None  #: marks the end of a prefix for the provider's cache, and how long it lives: "5m" or "1h"

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise InvalidRequest("an image has either a url or data, and not both", field="url")
        if self.url is not None and not self.url.startswith(("https://", "http://", "data:", "gs://", "file:")):
            raise InvalidRequest(
                f"not the URL of an image: {self.url[:60]!r}",
                field="url",
                hint="https://..., or Image.from_file(path)",
            )
        if self.data is not None and not (self.mime or "").startswith("image/"):
            raise InvalidRequest(
                "an image given as data needs its type", field="mime", hint="for example mime='image/png'"
            )

    @classmethod
    def from_file(cls, path: str | Path, detail: str | None = None) -> "Image":
        """Reads an image file now, so that a missing file is an error here and not at the provider."""
        mime, _ = mimetypes.guess_type(str(path))
        return cls(data=Path(path).read_bytes(), mime=mime, detail=detail)


class ToolCall(_Part, frozen=True, tag="tool_call"):
    """A call of a tool by the model."""

    id: str  #: id that the `ToolResult` repeats
    name: str  #: name of the tool
    arguments: dict[str, Any] = {}  #: arguments, parsed; {} where the model wrote no JSON object
    raw: str | None = None  #: text of arguments that are no JSON object
    signature: str | None = None  #: the provider's proof, which goes back with the call verbatim


class ToolResult(_Part, frozen=True, tag="tool_result"):
    """The result of one call of a tool."""

    call_id: str  #: `id` of the `ToolCall` that it answers
    content: str | tuple[Text | Image, ...] = ""  #: what the tool returned
    name: str | None = None  #: name of the tool, for providers that want it
    is_error: bool = False  #: whether the tool failed, and `content` says how
    cache: str | None = None  #: marks the end of a prefix for the provider's cache, and how long it lives: "5m" or "1h"


class Thinking(_Part, frozen=True):
    """Thinking of the model. It goes back to the same provider verbatim, and to no other."""

    text: str = ""  #: the thinking, as far as the provider shows it
    signature: str | None = None  #: the provider's proof, which goes back with the text verbatim
    redacted: str | None = None  #: thinking that the provider gave encrypted, which goes back verbatim
    provider: str | None = None  #: the provider that it goes back to


#: Any part of a message.
Part = Text | Image | ToolCall | ToolResult | Thinking
