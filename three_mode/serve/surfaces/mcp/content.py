"""Results of handlers and models as content of MCP. Pure."""

from base64 import b64encode
from typing import Any

import msgspec

from three_mode.errors import ThreeModeError
from three_mode.mcp.offered import ToolAnswer
from three_mode.messages import Image, Text
from three_mode.tools.outcome import result_content


def answer_of(value: Any) -> ToolAnswer:
    """The answer with a result: text and images as they are, all else as JSON, and an object as data too."""
    if value is None:
        return ToolAnswer([])
    try:
        content = result_content(_parts(value) or value)
    except Exception as error:  # noqa: BLE001  # a value may raise anything when it is written
        return ToolAnswer.failed(f"the result cannot be written as JSON: {type(error).__name__}: {error}")
    if isinstance(content, str):
        structured: Any = msgspec.Raw(content.encode()) if isinstance(value, dict) else None
        return ToolAnswer([{"type": "text", "text": content}], structured)
    return ToolAnswer([_block(part) for part in content])


def _parts(value: Any) -> tuple[Text | Image, ...]:
    """Text and images of a result. From another process they come as plain data, since here nobody knows the hint of
    the handler's result. Empty for anything else."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not any(isinstance(each, dict) and each.get("type") == "image" for each in listed):
        return ()
    try:
        return msgspec.convert(listed, tuple[Text | Image, ...])
    except (msgspec.ValidationError, ThreeModeError):
        return ()


def _block(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.data is None:
        return {"type": "text", "text": part.url or ""}
    return {"type": "image", "data": b64encode(part.data).decode(), "mimeType": part.mime or "image/png"}
