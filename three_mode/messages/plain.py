"""Conversion of plain dicts to messages: our own shape, and OpenAI's.

    {"role": "user", "content": "Hello!"} {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type":
    "image_url", "image_url": {"url": ...}}]} {"role": "assistant", "content": None, "tool_calls": [{"id": ...,
    "function": {"name": ..., "arguments": "{...}"}}]} {"role": "assistant", "content": "Hello!", "reasoning_content":
    "They greet me.", "refusal": None, "annotations": []} {"role": "tool", "tool_call_id": ..., "content": ...}

A reply is the assistant's message that it holds. A dict that does not fit is an `InvalidRequest` that names the field.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.messages.message import Message
from three_mode.messages.parts import Image, Part, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.reply import LLMResponse

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")
_PLAIN_ROLES = ("user", "system", "assistant")
_PART_TYPES: dict[str, type[Struct]] = {
    "text": Text,
    "image": Image,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "thinking": Thinking,
}


def message_from(value: Any, field: str) -> Message:
    """Converts a dict to a message; `field` is its place in the request, as in `messages[1]`."""
    if isinstance(value, Message):
        return value
    if isinstance(value, LLMResponse):
        return value.message
    if type(value) is dict and len(value) == 2 and value.get("role") in _PLAIN_ROLES:
        text = value.get("content")
        if type(text) is str:  # most messages
            return Message(value["role"], text)
    if not isinstance(value, Mapping):
        raise InvalidRequest(
            f"a message is a Message or a dict, not {type(value).__name__}",
            field=field,
            hint='for example {"role": "user", "content": "Hello!"}',
        )
    rest = dict(value)
    role = rest.pop("role", None)
    if not isinstance(role, str):
        raise InvalidRequest("the message has no role", field=f"{field}.role", hint="system, user, assistant or tool")
    role = {"developer": "system"}.get(role, role)
    content = rest.pop("content", None)
    parts = _parts(content, f"{field}.content")
    if role == "tool":
        parts = _tool_result(parts, rest, field)
    parts = _with_calls_and_thinking(rest, parts, field)
    name = rest.pop("name", None)
    # An answer that a client sends back has empty fields: `refusal`, `audio`, `annotations`...
    unknown = next((key for key, item in rest.items() if item is not None and item != []), None)
    if unknown is not None:
        raise InvalidRequest(f"unknown field {unknown!r}", field=f"{field}.{unknown}")
    if parts is None:
        raise InvalidRequest("the message has no content", field=f"{field}.content")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest(f"a name is a string, not {type(name).__name__}", field=f"{field}.name")
    try:
        return Message(role, parts, name)  # type: ignore[arg-type]  # Message checks the role itself
    except InvalidRequest as error:
        raise located(error, field) from None


def located(error: InvalidRequest, field: str) -> InvalidRequest:
    """The same error, with its field as a path from the whole request."""
    inner = f"{field}.{error.field}" if error.field else field
    return type(error)(error.message, field=inner, hint=error.hint)


def converted(value: Any, kind: type[Any], field: str) -> Any:
    """Converts with msgspec; its error becomes an `InvalidRequest` that names the field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidRequest):  # raised by a __post_init__ on the way
            raise located(error.__cause__, field) from None
        hint = f"it has {', '.join(kind.__struct_fields__)}" if "unknown field" in str(error) else None
        raise unfit(error, field, hint) from None


def unfit(error: msgspec.ValidationError, field: str, hint: str | None = None) -> InvalidRequest:
    """An error of msgspec as ours: what it names becomes a path from the whole request, `field` being the start."""
    message = str(error)
    path = _PATH.search(message)
    inner = path["path"].removeprefix("$") if path else ""
    if not field:
        inner = inner.removeprefix(".")
    return InvalidRequest(message[: path.start()] if path else message, field=field + inner or None, hint=hint)


def _parts(content: Any, field: str) -> str | tuple[Part, ...] | None:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, bytes | Mapping) or not isinstance(content, Sequence):
        raise InvalidRequest(f"content is a string or a list of parts, not {type(content).__name__}", field=field)
    return tuple(_part(part, f"{field}[{index}]") for index, part in enumerate(content))


def _part(value: Any, field: str) -> Part:
    if isinstance(value, Part):
        return value
    if isinstance(value, str):
        return Text(value)
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"a part is a dict, not {type(value).__name__}", field=field)
    kind = value.get("type")
    if kind == "image_url":
        return _image_url(value.get("image_url"), f"{field}.image_url")
    if not isinstance(kind, str) or kind not in _PART_TYPES:
        raise InvalidRequest(
            f"unknown part {kind!r}",
            field=f"{field}.type",
            hint=f"one of {', '.join(_PART_TYPES)}, image_url",
        )
    part: Part = converted(dict(value), _PART_TYPES[kind], field)
    return part


def _image_url(value: Any, field: str) -> Image:
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        raise InvalidRequest("an image_url part needs a url", field=f"{field}.url")
    try:
        return Image(url=value["url"], detail=value.get("detail"))
    except InvalidRequest as error:
        raise located(error, field) from None


def _with_calls_and_thinking(
    rest: dict[str, Any], parts: str | tuple[Part, ...] | None, field: str
) -> str | tuple[Part, ...] | None:
    """Moves `tool_calls` and `reasoning_content` of an assistant from `rest` to its parts."""
    calls, thinking = rest.pop("tool_calls", None), rest.pop("reasoning_content", None)
    if thinking is not None and not isinstance(thinking, str):
        raise InvalidRequest("reasoning_content is a string", field=f"{field}.reasoning_content")
    if thinking:
        parts = (Thinking(thinking), *((Text(parts),) if isinstance(parts, str) and parts else parts or ()))
    if not calls:
        return parts
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise InvalidRequest("tool_calls is a list", field=f"{field}.tool_calls")
    before = (Text(parts),) if isinstance(parts, str) and parts else parts or ()
    return (*before, *(_tool_call(call, f"{field}.tool_calls[{index}]") for index, call in enumerate(calls)))


def _tool_call(value: Any, field: str) -> ToolCall:
    if isinstance(value, ToolCall):
        return value
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidRequest("a tool call needs a function with a name", field=f"{field}.function.name")
    identity = value.get("id")
    if not isinstance(identity, str):
        raise InvalidRequest("a tool call needs an id", field=f"{field}.id")
    return tool_call(identity, function["name"], function.get("arguments") or {})


def tool_call(identity: str, name: str, arguments: Any, signature: str | None = None) -> ToolCall:
    """Makes a tool call from arguments as a dict or as JSON text; text that is no JSON object is kept as `raw`."""
    if isinstance(arguments, Mapping):
        return ToolCall(identity, name, dict(arguments), signature=signature)
    text = arguments if isinstance(arguments, str) else ""
    try:
        parsed = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):  # no JSON, or nested without end
        parsed = None
    if isinstance(parsed, dict):
        return ToolCall(identity, name, parsed, signature=signature)
    return ToolCall(identity, name, raw=text, signature=signature)


def _tool_result(content: str | tuple[Part, ...] | None, rest: dict[str, Any], field: str) -> tuple[Part, ...]:
    if isinstance(content, tuple) and content and all(isinstance(part, ToolResult) for part in content):
        return content
    call_id = rest.pop("tool_call_id", None)
    if not isinstance(call_id, str):
        raise InvalidRequest("a tool message needs the id of the call it answers", field=f"{field}.tool_call_id")
    wrong = [part for part in content or () if not isinstance(part, str | Text | Image)]
    if wrong:
        raise InvalidRequest(f"a tool result cannot carry a {type(wrong[0]).__name__}", field=f"{field}.content")
    return (ToolResult(call_id, content or "", name=rest.pop("name", None)),)  # type: ignore[arg-type]
