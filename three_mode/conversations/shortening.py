"""Results of tools that are shown shorter than they are, where a window has no room for all of them. Pure.

The longest are cut first, down to one length for all. The log keeps them whole.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from three_mode.messages import Message, Text, ToolResult
from three_mode.tools.outcome import cut_content

LEAST = 200  # characters of a result that are always shown
THEN = "the window has no room for more"


def lengths(messages: Sequence[Message]) -> list[int]:
    """The characters of each result, in their order."""
    return [_length(part) for message in messages for part in message.parts if isinstance(part, ToolResult)]


def level(sizes: Sequence[int], remove: int) -> int:
    """The length to which results are cut so that all of them lose `remove` characters, or as many as they can."""
    low, high = LEAST, max(sizes, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(max(0, size - middle) for size in sizes) >= remove:
            low = middle
        else:
            high = middle - 1
    return low


def cut_to(message: Message, most: int) -> Message:
    """The message with results of at most so many characters; itself, where none is longer."""
    if not any(isinstance(part, ToolResult) and _length(part) > most for part in message.parts):
        return message
    parts = (
        replace(part, content=cut_content(part.content, most, THEN)[0]) if isinstance(part, ToolResult) else part
        for part in message.parts
    )
    return Message(message.role, tuple(parts), message.name)


def _length(result: ToolResult) -> int:
    content = result.content
    return len(content) if isinstance(content, str) else sum(len(p.text) for p in content if isinstance(p, Text))
