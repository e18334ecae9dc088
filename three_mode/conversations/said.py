"""What can be said in a conversation: a text, a message, parts, results of tools. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from three_mode.errors import InvalidRequest
from three_mode.messages import Image, Message, Text, ToolResult
from three_mode.messages.plain import message_from

#: What `say` takes: a text, a message, a part of one, or several of them.
Sayable = str | Message | Text | Image | ToolResult | Mapping[str, Any] | Sequence[Any]


def messages_said(what: Sayable) -> tuple[Message, ...]:
    """What is said, as messages of a person or of tools."""
    if isinstance(what, str):
        return (Message("user", what),)
    pieces = [what] if isinstance(what, Message | Text | Image | ToolResult | Mapping) else list(what)
    found: list[Message] = []
    parts: list[Any] = []

    def end_parts() -> None:
        if parts:
            role = "tool" if all(isinstance(part, ToolResult) for part in parts) else "user"
            found.append(Message(role, tuple(parts)))  # type: ignore[arg-type]
            parts.clear()

    for number, piece in enumerate(pieces):
        if isinstance(piece, str):
            parts.append(Text(piece))
        elif isinstance(piece, Text | Image | ToolResult):
            parts.append(piece)
        else:
            end_parts()
            found.append(message_from(piece, f"said[{number}]"))
    end_parts()
    wrong = next((message for message in found if message.role not in ("user", "tool")), None)
    if wrong is not None:
        raise InvalidRequest(
            f"a {wrong.role} message cannot be said", field="role", hint="open(..., system=) sets the system message"
        )
    if not found:
        raise InvalidRequest("nothing is said", field="messages")
    return tuple(found)
