"""Message of a conversation: its role and its parts."""

from typing import Literal

from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.messages.parts import Image, Part, Text, Thinking, ToolCall, ToolResult

#: Who says a message.
Role = Literal["system", "user", "assistant", "tool"]

# Kinds of parts that each role may carry.
_ALLOWED: dict[str, tuple[type, ...]] = {
    "system": (Text,),
    "user": (Text, Image, ToolResult),
    "assistant": (Text, Image, ToolCall, Thinking),
    "tool": (ToolResult,),
}
_SPEAKERS = frozenset(_ALLOWED) - {"tool"}  # roles whose content may be a string, as it nearly always is


class Message(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One message of a conversation, for example `Message("user", "Hello!")`."""

    role: Role  #: who speaks: "system", "user", "assistant" or "tool"
    content: str | tuple[Part, ...]  #: a string, or parts
    name: str | None = None  #: name of the speaker, where several speak in one role

    def __post_init__(self) -> None:
        if type(self.content) is str and self.role in _SPEAKERS:
            return
        allowed = _ALLOWED.get(self.role)
        if allowed is None:
            raise InvalidRequest(f"unknown role {self.role!r}", field="role", hint=f"one of {', '.join(_ALLOWED)}")
        if isinstance(self.content, str):
            if self.role == "tool":
                raise InvalidRequest(
                    "a tool message needs the id of the call it answers",
                    field="content",
                    hint="content=(ToolResult(call_id, ...),), or a dict with tool_call_id",
                )
            return
        if not isinstance(self.content, tuple):
            raise InvalidRequest(
                f"content is a string or a tuple of parts, not {type(self.content).__name__}", field="content"
            )
        if not self.content:
            raise InvalidRequest("the message has no parts", field="content")
        for index, part in enumerate(self.content):
            if not isinstance(part, allowed):
                raise InvalidRequest(
                    f"a {self.role} message cannot carry {type(part).__name__} parts",
                    field=f"content[{index}]",
                    hint="it may carry " + ", ".join(kind.__name__ for kind in allowed),
                )

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; a string is one part."""
        return (Text(self.content),) if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """All text of the message, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, Text))
