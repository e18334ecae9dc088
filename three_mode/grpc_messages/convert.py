"""Our values as messages of gRPC, and back: pure, and nothing is lost on the way.

A table says of each kind which fields change their form; every other field has the same name and value in both. What
does not fit, in either direction, is an `InvalidRequest` that names the field.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar, cast, get_args

import msgspec

from three_mode.errors import InvalidRequest
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import (
    CacheHints,
    Chunk,
    Embedded,
    EmbedRequest,
    Finish,
    FinishReason,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Start,
    Step,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageUpdate,
)
from three_mode.modes import CommunicationMode

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# requests ---------------------------------------------------------------------------------------------------------


def write_request(request: LLMRequest) -> pb.ChatRequest:
    """A request as its message."""
    return cast("pb.ChatRequest", _write(pb.ChatRequest(), request))


def read_request(message: pb.ChatRequest) -> LLMRequest:
    """The request in a message; checked as one that is made here."""
    return _read(LLMRequest, message)


def write_message(message: Message) -> pb.Message:
    """One message of a conversation as its message of gRPC."""
    return cast("pb.Message", _write(pb.Message(), message))


def read_message(message: pb.Message) -> Message:
    """The message of a conversation in a message of gRPC."""
    return _read(Message, message)


def write_tool_result(result: ToolResult) -> pb.ToolResult:
    """The result of a tool as its message."""
    return cast("pb.ToolResult", _write(pb.ToolResult(), result))


def read_tool_result(message: pb.ToolResult) -> ToolResult:
    """The result of a tool in a message."""
    return _read(ToolResult, message)


def write_embed_request(request: EmbedRequest) -> pb.EmbedRequest:
    """A request for vectors as its message."""
    return cast("pb.EmbedRequest", _write(pb.EmbedRequest(), request))


def read_embed_request(message: pb.EmbedRequest) -> EmbedRequest:
    """The request for vectors in a message."""
    return _read(EmbedRequest, message)


# answers ----------------------------------------------------------------------------------------------------------


def write_response(response: LLMResponse) -> pb.ChatResponse:
    """A whole answer as its message. `content` and `tokens_used` are there for clients of the older schema."""
    message = pb.ChatResponse(content=response.content, tokens_used=response.usage.total_tokens)
    return cast("pb.ChatResponse", _write(message, response))


def read_response(message: pb.ChatResponse) -> LLMResponse:
    """The answer in a message."""
    return _read(LLMResponse, message)


def write_chunk(chunk: Chunk) -> pb.ChatChunk:
    """A chunk as its message."""
    if type(chunk) is TextDelta:
        return pb.ChatChunk(content=chunk.text, index=chunk.index)
    message = pb.ChatChunk(index=getattr(chunk, "index", 0))
    if type(chunk) is UsageUpdate:
        message.tokens_used = chunk.usage.total_tokens
        _write(message.usage, chunk.usage)
        message.usage.SetInParent()
        return message
    if type(chunk) is Start:
        message.model = chunk.model
    into = getattr(message, _NAME_OF[type(chunk)])
    into.SetInParent()
    _write(into, chunk)
    return message


def read_chunk(message: pb.ChatChunk) -> Chunk:
    """The chunk in a message."""
    name = message.WhichOneof("kind")
    if name is None:
        return TextDelta(message.content, message.index)
    found = getattr(message, name)
    if name == "usage":
        return UsageUpdate(_read(Usage, found))
    if name == "start":
        return _read(Start, found, model=message.model)
    if name == "finish":
        return _read(Finish, found)
    if name == "thinking":
        return _read(ThinkingDelta, found, index=message.index)
    return _read(ToolDelta, found, index=message.index)


def write_embedded(embedded: Embedded) -> pb.EmbedResponse:
    """Vectors as their message."""
    return cast("pb.EmbedResponse", _write(pb.EmbedResponse(), embedded))


def read_embedded(message: pb.EmbedResponse) -> Embedded:
    """The vectors in a message."""
    return _read(Embedded, message, vectors=_read_vectors(message.vectors))


# one value of any kind --------------------------------------------------------------------------------------------


def _write(message: Any, value: Any) -> Any:
    """Fills a message from a value. What is not said in the value is not said in the message."""
    plan = _plan(type(value), type(message))  # type: ignore[arg-type]  # types are hashable
    for name, writer, says_empty in plan:
        given = getattr(value, name)
        if given is None or not (given or says_empty):
            continue
        try:
            if writer is None:
                setattr(message, name, given)
            else:
                writer(message, given)
        except InvalidRequest:
            raise
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise InvalidRequest(f"{name} cannot be sent over gRPC: {error}", field=name) from None
    return message


@cache
def _plan(kind: Any, message: Any) -> "tuple[tuple[str, Writer | None, bool], ...]":
    """How to write each field of a kind: its name, its writer, and whether an empty value is said."""
    writers = _WRITERS.get(kind, _NO_WRITERS)
    fields = message.DESCRIPTOR.fields_by_name
    return tuple(
        (name, writers.get(name), name not in fields or (fields[name].has_presence)) for name in kind.__struct_fields__
    )


def _read(kind: type[T], message: Any, **fields: Any) -> T:
    """Makes a value from the fields that a message says."""
    readers = _READERS.get(kind, _NO_READERS)
    for field, given in message.ListFields():
        name = field.name
        reader = readers.get(name)
        if reader is None:
            fields[name] = given
        else:
            reader(fields, given)
    for name, missing in _NEEDED.get(kind, _NOTHING):
        fields.setdefault(name, missing)
    try:
        return kind(**fields)
    except TypeError as error:
        raise InvalidRequest(f"a {kind.__name__} of gRPC says too little: {error}") from None


# fields that change their form ------------------------------------------------------------------------------------
Writer = Callable[[Any, Any], None]  # into the message, from the value of the field
Reader = Callable[[dict[str, Any], Any], None]  # into the fields of the value, from what the message says


def _write_temperature(message: pb.ChatRequest, value: float) -> None:
    """As a float, and exactly beside it where seven digits do not say all."""
    message.temperature = value
    if _seven_digits(message.temperature) != value:
        message.temperature_exact = value


def _seven_digits(single: float) -> float:
    return float(f"{single:.7g}")


def _read_temperature(fields: dict[str, Any], single: float) -> None:
    fields["temperature"] = _seven_digits(single)


def _read_exact(fields: dict[str, Any], value: float) -> None:
    fields["temperature"] = value  # after `temperature`, whose number is lower


def _write_content(message: Any, content: str | tuple[Part, ...]) -> None:
    if isinstance(content, str):
        message.content = content
    else:
        _write_parts(message, content)


def _write_parts(message: Any, parts: tuple[Part, ...]) -> None:
    for part in parts:
        into = getattr(message.parts.add(), _NAME_OF[type(part)])
        into.SetInParent()
        _write(into, part)


def _write_answer(message: pb.ChatResponse, parts: tuple[Part, ...]) -> None:
    """An answer that is one text is in `content` already."""
    if len(parts) == 1 and type(parts[0]) is Text and parts[0].text and parts[0].cache is None:
        return
    _write_parts(message, parts)


def _read_part(message: pb.Part) -> Part:
    name = message.WhichOneof("kind")
    if name is None:
        raise InvalidRequest("a part of a message says nothing", field="parts", hint="set text, image or another kind")
    part: Part = _read(_PART_OF[name], getattr(message, name))
    return part


def _read_content(fields: dict[str, Any], text: str) -> None:
    fields["content"] = text


def _read_parts(fields: dict[str, Any], parts: Any) -> None:
    fields["content"] = tuple(map(_read_part, parts))  # after `content`, whose number is lower


def _read_answer(fields: dict[str, Any], parts: Any) -> None:
    fields["parts"] = tuple(map(_read_part, parts))


def _read_answer_text(fields: dict[str, Any], text: str) -> None:
    fields["parts"] = (Text(text),)


def _write_vectors(message: pb.EmbedResponse, vectors: tuple[tuple[float, ...], ...]) -> None:
    for vector in vectors:
        message.vectors.add().values.extend(vector)


def _read_vectors(vectors: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(vector.values) for vector in vectors)


def _write_prompt(message: pb.ChatRequest, prompt: str | tuple[int, ...]) -> None:
    if isinstance(prompt, str):
        message.prompt.text = prompt
    else:
        message.prompt.tokens.tokens.extend(prompt)


def _read_prompt(fields: dict[str, Any], prompt: pb.Prompt) -> None:
    name = prompt.WhichOneof("kind")
    if name is None:
        raise InvalidRequest("a prompt says nothing", field="prompt", hint="set text or tokens")
    fields["prompt"] = prompt.text if name == "text" else tuple(prompt.tokens.tokens)


def _write_tokens(message: pb.EmbedRequest, tokens: tuple[tuple[int, ...], ...]) -> None:
    for each in tokens:
        message.tokens.add().tokens.extend(each)


def _read_tokens(fields: dict[str, Any], tokens: Any) -> None:
    fields["tokens"] = tuple(tuple(each.tokens) for each in tokens)


def _several(name: str, read: Callable[[Any], Any]) -> tuple[Writer, Reader]:
    """A field of several values."""

    def write(message: Any, values: Any) -> None:
        field = getattr(message, name)
        for value in values:
            _write(field.add(), value)

    def reader(fields: dict[str, Any], values: Any) -> None:
        try:
            fields[name] = tuple([read(value) for value in values])
        except InvalidRequest as error:
            raise _within(error, name, values, read) from None

    return write, reader


def _within(error: InvalidRequest, name: str, values: Any, read: Callable[[Any], Any]) -> InvalidRequest:
    """The error with the place of the first value that cannot be read."""
    for index, value in enumerate(values):
        try:
            read(value)
        except InvalidRequest:
            place = f"{name}[{index}]"
            error.field = f"{place}.{error.field}" if error.field else place
            break
    return error


def _one(name: str, kind: type) -> tuple[Writer, Reader]:
    """A field that is a value of its own. One that says nothing is there all the same."""

    def write(message: Any, value: Any) -> None:
        into = getattr(message, name)
        into.SetInParent()
        _write(into, value)

    def reader(fields: dict[str, Any], value: Any) -> None:
        fields[name] = _read(kind, value)

    return write, reader


def _texts(name: str) -> tuple[Writer, Reader]:
    def write(message: Any, values: tuple[str, ...]) -> None:
        getattr(message, name).extend(values)

    def reader(fields: dict[str, Any], values: Any) -> None:
        fields[name] = tuple(values)

    return write, reader


def _object(name: str) -> tuple[Writer, Reader]:
    """A JSON object as text."""

    def write(message: Any, value: Mapping[str, Any]) -> None:
        if value or name == "json_schema":
            setattr(message, name, msgspec.json.encode(value).decode())

    def reader(fields: dict[str, Any], text: str) -> None:
        fields[name] = read_object(text, name)

    return write, reader


def read_object(text: str, name: str) -> dict[str, Any]:
    """The JSON object that a field of text holds."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{name} is no JSON: {error}", field=name) from None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} is a JSON object, not {type(found).__name__}", field=name)
    return found


_MODES = dict(enumerate((None, *CommunicationMode)))  # in the order of the schema
_NUMBERS = {mode: number for number, mode in _MODES.items()}


def _write_mode(message: Any, mode: CommunicationMode) -> None:
    message.mode = _NUMBERS[mode]


def _read_mode(fields: dict[str, Any], number: int) -> None:
    mode = _MODES.get(number)
    if mode is None:
        raise InvalidRequest(f"unknown mode {number}", field="mode", hint="see CommunicationMode in the schema")
    fields["mode"] = mode


def _word(name: str, known: tuple[str, ...]) -> tuple[Writer, Reader]:
    """A field that is one of a few words."""

    def write(message: Any, word: str) -> None:
        setattr(message, name, word)

    def reader(fields: dict[str, Any], word: str) -> None:
        if word not in known:
            raise InvalidRequest(f"unknown {name} {word[:40]!r}", field=name, hint=f"one of {', '.join(known)}")
        fields[name] = word

    return write, reader


def _reason(name: str) -> tuple[Writer, Reader]:
    """Why an answer ended. A word that a newer peer knows is "unknown" here, and no error."""

    def write(message: Any, word: str) -> None:
        setattr(message, name, word)

    def reader(fields: dict[str, Any], word: str) -> None:
        fields[name] = word if word in get_args(FinishReason) else "unknown"

    return write, reader


def _write_cost(message: pb.Usage, cost: Decimal) -> None:
    message.cost = str(cost)


def _read_cost(fields: dict[str, Any], text: str) -> None:
    try:
        fields["cost"] = Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(f"a cost is a decimal number, not {text[:40]!r}", field="cost") from None


def _write_time(message: Any, at: datetime) -> None:
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH
    message.created_at.seconds = since.days * 86_400 + since.seconds
    message.created_at.nanos = since.microseconds * 1_000


def _read_time(fields: dict[str, Any], at: Any) -> None:
    try:
        fields["created_at"] = EPOCH + timedelta(seconds=at.seconds, microseconds=at.nanos // 1_000)
    except OverflowError:
        raise InvalidRequest("created_at is no time of a calendar", field="created_at") from None


def _left_out(message: Any, value: Any) -> None:
    """The field is said elsewhere."""


def _ignored(fields: dict[str, Any], value: Any) -> None:
    """The field says again what others say."""


_NAME_OF: dict[type, str] = {
    Text: "text",
    Image: "image",
    ToolCall: "tool_call",
    ToolResult: "tool_result",
    Thinking: "thinking",
    Start: "start",
    ThinkingDelta: "thinking",
    ToolDelta: "tool",
    Finish: "finish",
}
_PART_OF: dict[str, Any] = {_NAME_OF[kind]: kind for kind in (Text, Image, ToolCall, ToolResult, Thinking)}
_FORMS: dict[type, dict[str, tuple[Writer, Reader]]] = {
    LLMRequest: {
        "messages": _several("messages", read_message),
        "prompt": (_write_prompt, _read_prompt),
        "temperature": (_write_temperature, _read_temperature),
        "temperature_exact": (_left_out, _read_exact),
        "mode": (_write_mode, _read_mode),
        "tools": _several("tools", lambda message: _read(Tool, message)),
        "response_format": _one("response_format", ResponseFormat),
        "stop": _texts("stop"),
        "reasoning": _one("reasoning", Reasoning),
        "cache": _one("cache", CacheHints),
        "metadata": _object("metadata"),
        "extra": _object("extra"),
    },
    Message: {"content": (_write_content, _read_content), "parts": (_left_out, _read_parts)},
    ToolCall: {"arguments": _object("arguments")},
    ToolResult: {"content": (_write_content, _read_content), "parts": (_left_out, _read_parts)},
    Tool: {"parameters": _object("parameters")},
    CacheHints: {"response": _word("response", ("default", "skip", "refresh"))},
    ResponseFormat: {"json_schema": _object("json_schema")},
    Usage: {"cost": (_write_cost, _read_cost)},
    LLMResponse: {
        "content": (_left_out, _read_answer_text),
        "tokens_used": (_left_out, _ignored),
        "parts": (_write_answer, _read_answer),
        "mode": (_write_mode, _read_mode),
        "usage": _one("usage", Usage),
        "finish_reason": _reason("finish_reason"),
        "created_at": (_write_time, _read_time),
        "steps": _several("steps", lambda message: _read(Step, message)),
        "extra": _object("extra"),
    },
    Start: {
        "model": (_left_out, _ignored),  # it is in the chunk
        "mode": (_write_mode, _read_mode),
        "created_at": (_write_time, _read_time),
        "steps": _several("steps", lambda message: _read(Step, message)),
    },
    ThinkingDelta: {"index": (_left_out, _ignored)},  # it is in the chunk
    ToolDelta: {"index": (_left_out, _ignored)},
    Finish: {
        "reason": _reason("reason"),
        "steps": _several("steps", lambda message: _read(Step, message)),
        "extra": _object("extra"),
    },
    EmbedRequest: {
        "texts": _texts("texts"),
        "tokens": (_write_tokens, _read_tokens),
        "extra": _object("extra"),
    },
    Embedded: {"vectors": (_write_vectors, _ignored), "usage": _one("usage", Usage)},
}
_WRITERS = {kind: {name: writer for name, (writer, _) in forms.items()} for kind, forms in _FORMS.items()}
_READERS = {kind: {name: reader for name, (_, reader) in forms.items()} for kind, forms in _FORMS.items()}
_NO_WRITERS: dict[str, Writer] = {}
_NO_READERS: dict[str, Reader] = {}
_NOTHING: tuple[tuple[str, Any], ...] = ()
# Fields without a default of ours, and what they are where a message leaves them out: proto3 does not send the empty.
_NEEDED: dict[type, tuple[tuple[str, Any], ...]] = {
    LLMRequest: (("messages", ()),),
    Message: (("role", ""), ("content", "")),
    Text: (("text", ""),),
    ToolCall: (("id", ""), ("name", "")),
    ToolResult: (("call_id", ""),),
    Tool: (("name", ""),),
    Step: (("kind", ""),),
    EmbedRequest: (("texts", ()),),
}
