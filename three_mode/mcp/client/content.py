"""Content of a tool's result as parts that a model reads. Pure."""

from base64 import b64decode
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.messages import Image, Text


class _Resource(Struct, rename="camel"):
    uri: str = ""
    text: str | None = None
    blob: str | None = None
    mime_type: str | None = None


class _ListedBlock(Struct, rename="camel"):
    type: str
    text: str = ""
    data: str = ""
    mime_type: str | None = None
    uri: str = ""
    name: str = ""
    resource: _Resource | None = None


class _CallResult(Struct, rename="camel"):
    content: list[_ListedBlock] = []
    structured_content: Any = None


def content_of(result: dict[str, Any]) -> Any:
    """A text, or text and images; the structured value where there is nothing else. msgspec.ValidationError where the
    result is none of a tool."""
    found = msgspec.convert(result, _CallResult)
    if not found.content:
        return "" if found.structured_content is None else found.structured_content
    parts = [_part(block) for block in found.content]
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return parts


def _part(block: _ListedBlock) -> Text | Image:
    if block.type == "text":
        return Text(block.text)
    if block.type == "image" and (block.mime_type or "").startswith("image/"):
        try:
            return Image(data=b64decode(block.data, validate=True), mime=block.mime_type)
        except ValueError:
            return Text("[an image that cannot be read]")
    if block.type == "resource_link":
        return Text(f"[{block.name or 'a resource'}: {block.uri}]")
    if block.type == "resource" and block.resource is not None:
        held = block.resource
        return Text(held.text if held.text is not None else f"[{held.mime_type or 'data'}: {held.uri}]")
    return Text(f"[{block.type}: {block.mime_type or 'of no kind that a model reads'}]")
