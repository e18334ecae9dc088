"""What a message is made of. Each part is a frozen value whose `type` names it on the wire."""

import mimetypes
from pathlib import Path
from typing import Any

from msgspec import Struct

from three_mode.errors import InvalidRequest


class _Part(Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True, forbid_unknown_fields=True):
    """What the parts share: a frozen struct, told apart by `type`; an unknown field is an error, not a typo that passes."""


class Text(_Part, frozen=True):
    """Plain text. `cache` marks the end of a prefix that the provider may keep: how long, as in "5m" or "1h"."""

    text: str
    cache: str | None = None


class Image(_Part, frozen=True):
    """An image by URL or as bytes: exactly one of the two. `detail` is the provider's word for resolution, as in "low"."""

    url: str | None = None
    data: bytes | None = None
    mime: str | None = None
    detail: str | None = None
    cache: str | None = None

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
        """Reads the file now, so that a missing one is an error here and not at the provider."""
        mime, _ = mimetypes.guess_type(str(path))
        return cls(data=Path(path).read_bytes(), mime=mime, detail=detail)


class ToolCall(_Part, frozen=True, tag="tool_call"):
    """The model asks for a tool. `arguments` are parsed; if they were not JSON, they are empty and `raw` has the text.

    `signature` is the provider's proof that goes back with the call, verbatim (Gemini's thought signature).
    """

    id: str
    name: str
    arguments: dict[str, Any] = {}
    raw: str | None = None
    signature: str | None = None


class ToolResult(_Part, frozen=True, tag="tool_result"):
    """What a tool answered to the call of that id."""

    call_id: str
    content: str | tuple[Text | Image, ...] = ""
    name: str | None = None
    is_error: bool = False
    cache: str | None = None


class Thinking(_Part, frozen=True):
    """What the model thought. It goes back to the same provider verbatim, and to no other.

    `redacted` is thinking that the provider gave encrypted; it is opaque to us and travels in the same way.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    provider: str | None = None


Part = Text | Image | ToolCall | ToolResult | Thinking
