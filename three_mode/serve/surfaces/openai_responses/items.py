"""Items of OpenAI's responses into messages, and parts of an answer into items. Pure.

What belongs to one turn of the model (its thinking, its words, its calls) is several items there and one message here.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import Image, Message, Part, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.plain import located, tool_call

_SEALED = "three-mode."  # begins thinking that goes back verbatim; another service's own is not ours to read
_ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "summary_text": "text", "refusal": "refusal"}


def messages_of(given: Any) -> list[Message]:
    """The field `input`: a text, or items."""
    if isinstance(given, str):
        return [Message("user", given)]
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise InvalidRequest("input is a text, or a list of items", field="input")
    reading = _Reading()
    for number, item in enumerate(given):
        field = f"input[{number}]"
        if not isinstance(item, Mapping):
            raise InvalidRequest(f"an item is an object, not {type(item).__name__}", field=field)
        kind = item.get("type") or "message"
        read = _READERS.get(kind) if isinstance(kind, str) else None
        if read is None:
            known = ", ".join(_READERS)
            raise UnsupportedParameter(f"no item {kind!r} is read here", field=f"{field}.type", hint=f"one of {known}")
        read(reading, item, field)
    reading.end_turn()
    if not reading.messages:
        raise InvalidRequest("the input has no items", field="input", hint="a text, or a list of items")
    return reading.messages


class _Reading:
    """Messages so far, and the parts of a turn of the model that is not at its end."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._turn: list[Part] = []

    def add(self, message: Message) -> None:
        self.end_turn()
        self.messages.append(message)

    def add_to_turn(self, parts: Sequence[Part], begins: tuple[type, ...]) -> None:
        """More of the model's turn, which is a new one where a part of these kinds came before."""
        if any(isinstance(part, begins) for part in self._turn):
            self.end_turn()
        self._turn += parts

    def end_turn(self) -> None:
        # Thinking alone says nothing: what it led to was left out.
        if any(not isinstance(part, Thinking) for part in self._turn):
            self.messages.append(Message("assistant", tuple(self._turn)))
        self._turn = []


def _read_message(reading: _Reading, item: Mapping[str, Any], field: str) -> None:
    given = item.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise InvalidRequest(f"unknown role {given!r}", field=f"{field}.role", hint=f"one of {', '.join(_ROLES)}")
    content = item.get("content")
    if role == "assistant":
        parts = (Text(content),) if isinstance(content, str) else _parts(content, f"{field}.content")
        reading.add_to_turn([part for part in parts if part != Text("")], (Text, ToolCall))
        return
    whole = content if isinstance(content, str) else _parts(content, f"{field}.content")
    try:
        reading.add(Message(role, whole))  # type: ignore[arg-type]  # one of the roles above
    except InvalidRequest as error:
        raise located(error, field) from None


def _read_call(reading: _Reading, item: Mapping[str, Any], field: str) -> None:
    call = tool_call(_text(item, "call_id", field), _text(item, "name", field), item.get("arguments") or {})
    reading.add_to_turn([call], ())


def _read_output(reading: _Reading, item: Mapping[str, Any], field: str) -> None:
    call_id, output = _text(item, "call_id", field), item.get("output")
    content = output if isinstance(output, str) else _parts(output, f"{field}.output")
    reading.add(Message("tool", (ToolResult(call_id, content),)))


def _read_thinking(reading: _Reading, item: Mapping[str, Any], field: str) -> None:
    sealed = _unsealed(item.get("encrypted_content"))
    if sealed is None:
        said = []
        for name in ("summary", "content"):
            given = item.get(name) or []
            texts = (
                [part.get("text") for part in given if isinstance(part, Mapping)] if isinstance(given, list) else None
            )
            if texts is None or len(texts) != len(given) or not all(isinstance(text, str) for text in texts):
                raise InvalidRequest(f"{name} is a list of texts", field=f"{field}.{name}")
            said += texts
        sealed = (Thinking("\n\n".join(map(str, said))),) if said else ()
    reading.add_to_turn(sealed, (Text, ToolCall))


_READERS: dict[str, Callable[[_Reading, Mapping[str, Any], str], None]] = {
    "message": _read_message,
    "function_call": _read_call,
    "function_call_output": _read_output,
    "reasoning": _read_thinking,
}


def _parts(content: Any, field: str) -> tuple[Text | Image, ...]:
    if not isinstance(content, Sequence) or isinstance(content, str | bytes):
        raise InvalidRequest(f"it is a text or a list of parts, not {type(content).__name__}", field=field)
    if not content:
        raise InvalidRequest("it has no parts", field=field)
    return tuple(_part(part, f"{field}[{number}]") for number, part in enumerate(content))


def _part(part: Any, field: str) -> Text | Image:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(kind, str) and kind in _TEXTS:
        return Text(_text(part, _TEXTS[kind], field))
    if kind != "input_image":
        raise UnsupportedParameter(
            f"no part {kind!r} is read here", field=f"{field}.type", hint=f"one of {', '.join(_TEXTS)}, input_image"
        )
    if part.get("image_url") is None:
        raise UnsupportedParameter(
            "this endpoint keeps no files", field=f"{field}.file_id", hint="image_url, which may be a data: URL"
        )
    try:
        return Image(url=_text(part, "image_url", field), detail=part.get("detail"))
    except InvalidRequest as error:
        raise located(error, field) from None


def _text(item: Mapping[str, Any], name: str, field: str) -> str:
    found = item.get(name)
    if not isinstance(found, str):
        raise InvalidRequest(f"{name} is a text, not {type(found).__name__}", field=f"{field}.{name}")
    return found


# Items of an answer


def thinking_item(name: str, text: str, status: str, sealed: str | None = None) -> dict[str, Any]:
    """What the model thought, as its summary."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item = {"id": name, "type": "reasoning", "summary": summary, "status": status}
    return item if sealed is None else item | {"encrypted_content": sealed}


def text_part(text: str, logprobs: Any = ()) -> dict[str, Any]:
    """A part of a message of the model."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or ()}


def text_item(name: str, parts: Sequence[dict[str, Any]], status: str) -> dict[str, Any]:
    """A message of the model."""
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": parts}


def call_item(name: str, call_id: str, function: str, arguments: str, status: str) -> dict[str, Any]:
    """A call of a function."""
    return {
        "id": name,
        "type": "function_call",
        "call_id": call_id,
        "name": function,
        "arguments": arguments,
        "status": status,
    }


def output_items(response_id: str, parts: Sequence[Part], seal: bool, logprobs: Any = ()) -> list[dict[str, Any]]:
    """An answer as items. `seal`: thinking comes with what goes back to its provider verbatim."""
    items: list[dict[str, Any]] = []
    for part in parts:
        name = item_id(response_id, len(items), type(part))
        if isinstance(part, Text):
            items.append(text_item(name, (text_part(part.text, logprobs),), "completed"))
        elif isinstance(part, Thinking):
            items.append(thinking_item(name, part.text, "completed", sealed(part) if seal else None))
        elif isinstance(part, ToolCall):
            arguments = part.raw if part.raw is not None else msgspec.json.encode(part.arguments).decode()
            items.append(call_item(name, part.id, part.name, arguments, "completed"))
    return items


_PREFIX: dict[type, str] = {Text: "msg", Thinking: "rs", ToolCall: "fc"}


def item_id(response_id: str, place: int, kind: type) -> str:
    """The id of an item of an answer: of its response and its place."""
    return f"{_PREFIX.get(kind, 'item')}_{response_id[5:]}_{place}"


def sealed(thinking: Thinking) -> str:
    """Thinking as a text that a client gives back unread."""
    return _SEALED + base64.urlsafe_b64encode(msgspec.msgpack.encode(thinking)).decode()


def _unsealed(given: Any) -> tuple[Thinking, ...] | None:
    """The thinking of such a text; None: there is none, or it is another service's."""
    if not isinstance(given, str) or not given.startswith(_SEALED):
        return None
    try:
        return (msgspec.msgpack.decode(base64.urlsafe_b64decode(given[len(_SEALED) :].encode()), type=Thinking),)
    except (ValueError, msgspec.MsgspecError):
        return None
