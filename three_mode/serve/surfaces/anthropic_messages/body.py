"""A body of Anthropic's Messages API into a request of ours. Pure: what does not fit is an `InvalidRequest` that names
the field.

Fields that have no meaning of their own here go to the provider through `extra`. A block of a kind that no model here
reads is refused.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import (
    Image,
    LLMRequest,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from three_mode.messages.plain import located, unfit
from three_mode.serve.ignored import NOTHING_SENT, Sent, sent
from three_mode.serve.surfaces.anthropic_messages.blocks import (
    Base64Source,
    Block,
    CacheControl,
    ImageBlock,
    MessagesBody,
    RedactedBlock,
    TextBlock,
    ThinkingBlock,
    ThinkingChoice,
    ToolChoice,
    ToolOffer,
    ToolResultBlock,
    ToolUseBlock,
    WireTurn,
)
from three_mode.serve.surfaces.anthropic_messages.proofs import opened
from three_mode.serve.wire_in import MOST_MESSAGES

_BODY = msgspec.json.Decoder(MessagesBody)
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(MessagesBody.__struct_fields__)
_DEFAULT_EFFORT = "high"  # of a model that decides itself how much it thinks
_LIFETIME = "5m"  # of a cache mark that says none
_WEB = ("https://", "http://")


class MessagesQuestion(Struct, frozen=True):
    """What a client asked for: the request, and how it wants the answer."""

    request: LLMRequest
    stream: bool = False
    shows_thinking: bool = True  # else its proof alone
    sent: Sent = NOTHING_SENT  # fields that change no answer


class _PlainTurn(Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant", "system"]
    content: str


class _PlainMessages(Struct, forbid_unknown_fields=True, gc=False):
    """The body that most requests have: texts, and the plainest of options."""

    model: str
    messages: tuple[_PlainTurn, ...]
    max_tokens: int | None = None
    system: str | None = None
    stream: bool | None = None
    temperature: float | None = None


_decode_few = msgspec.json.Decoder(_PlainMessages).decode


def read_messages(body: bytes, within: float, most_messages: int = MOST_MESSAGES) -> MessagesQuestion:
    """The body of `/v1/messages`, or of `/v1/messages/count_tokens`; `within` is the caller's deadline."""
    try:
        few = _decode_few(body)
        if not few.messages or len(few.messages) > most_messages:
            return _read_any(body, within, most_messages)
        said = [Message(turn.role, turn.content) for turn in few.messages]
        if few.system:
            said.insert(0, Message("system", few.system))
        request = LLMRequest(
            messages=tuple(said),
            model=few.model,
            within=within,
            max_tokens=few.max_tokens,
            temperature=few.temperature,
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidRequest):
        return _read_any(body, within, most_messages)  # which says what does not fit, if anything
    return MessagesQuestion(request, bool(few.stream))


def _read_any(body: bytes, within: float, most_messages: int) -> MessagesQuestion:
    asked, extra = _decoded(body)
    unused = dict(sent(extra))
    if asked.metadata:
        unused["metadata"] = asked.metadata
    if not asked.model.strip():
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    if len(asked.messages) > most_messages:
        raise InvalidRequest(f"at most {most_messages} messages a request, not {len(asked.messages)}", field="messages")
    fields: dict[str, Any] = {
        "model": asked.model,
        "messages": tuple(_messages(asked)),
        "within": within,
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
    }
    if asked.stop_sequences:
        fields["stop"] = tuple(asked.stop_sequences)
    if asked.metadata:
        fields["metadata"] = asked.metadata
    if asked.tools:
        fields["tools"] = tuple(_tool(offer, number) for number, offer in enumerate(asked.tools))
    if asked.tool_choice is not None:
        fields["tool_choice"] = _choice(asked.tool_choice)
        if asked.tool_choice.disable_parallel_tool_use:
            extra["parallel_tool_calls"] = False
    output = asked.output_config
    if output is not None and output.format is not None:
        fields["response_format"] = ResponseFormat(json_schema=output.format.schema)
    fields["reasoning"] = _reasoning(asked.thinking, output.effort if output is not None else None)
    shown = asked.thinking is None or asked.thinking.display != "omitted"
    return MessagesQuestion(LLMRequest(**fields, extra=extra), bool(asked.stream), shown, unused)


def _decoded(body: bytes) -> tuple[MessagesBody, dict[str, Any]]:
    """The fields that mean something here, and the others that say something."""
    try:
        asked = _BODY.decode(body)
        others = {name: msgspec.json.decode(value) for name, value in _NAMES.decode(body).items() if name not in _KNOWN}
    except msgspec.ValidationError as error:
        raise unfit(error, "") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    return asked, {name: value for name, value in others.items() if not _says_nothing(name, value)}


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a field is a default, or asks for what is done anyway."""
    if value is None or (name == "service_tier" and value == "auto"):
        return True
    if name == "context_management" and isinstance(value, dict) and not value.keys() - {"edits"}:
        edits = value.get("edits")
        return isinstance(edits, list) and all(isinstance(edit, dict) and _keeps_all(edit) for edit in edits)
    return False


def _keeps_all(edit: dict[str, Any]) -> bool:
    return str(edit.get("type")).startswith("clear_thinking_") and edit.get("keep") == "all"


def _messages(asked: MessagesBody) -> Iterator[Message]:
    if isinstance(asked.system, str):
        if asked.system:
            yield Message("system", asked.system)
    elif asked.system:
        parts = tuple(Text(block.text, _mark(block.cache_control)) for block in asked.system if block.text)
        if parts:
            yield Message("system", parts)
    last = len(asked.messages) - 1
    for number, turn in enumerate(asked.messages):
        try:
            yield from _turn(turn, asked.cache_control if number == last else None)
        except InvalidRequest as error:
            raise located(error, f"messages[{number}]") from None


def _turn(turn: WireTurn, mark: CacheControl | None) -> Iterator[Message]:
    """One of their messages; results of tools become a message of their own, as they are here."""
    if isinstance(turn.content, str):
        if mark is None:
            yield Message(turn.role, turn.content)
            return
        parts: list[Part] = [Text(turn.content)] if turn.content else []
    else:
        parts = list(_parts(turn.content))
    if mark is not None:
        parts = _marked_last(parts, _mark(mark))
    if turn.role != "user" or not any(type(part) is ToolResult for part in parts):
        yield Message(turn.role, tuple(parts))
        return
    for results, group in groupby(parts, lambda part: type(part) is ToolResult):
        yield Message("tool" if results else "user", tuple(group))


def _parts(blocks: Iterable[Block]) -> Iterator[Part]:
    for number, block in enumerate(blocks):
        match block:
            case TextBlock():
                if block.text:
                    yield Text(block.text, _mark(block.cache_control))
            case ImageBlock():
                yield _image(block, f"content[{number}]")
            case ToolUseBlock():
                yield ToolCall(block.id, block.name, block.input)
            case ToolResultBlock():
                yield _result(block, f"content[{number}]")
            case ThinkingBlock():
                provider, proof = opened(block.signature)
                yield Thinking(block.thinking, proof, provider=provider)
            case RedactedBlock():
                provider, proof = opened(block.data)
                yield Thinking(redacted=proof, provider=provider)


def _image(block: ImageBlock, field: str) -> Image:
    source, mark = block.source, _mark(block.cache_control)
    try:
        if isinstance(source, Base64Source):
            return Image(data=source.data, mime=source.media_type, cache=mark)
        if not source.url.startswith(_WEB):
            raise InvalidRequest("the address of an image begins with https:// or http://", field="url")
        return Image(url=source.url, cache=mark)
    except InvalidRequest as error:
        raise located(error, f"{field}.source") from None


def _result(block: ToolResultBlock, field: str) -> ToolResult:
    given = block.content or ""
    content = (
        given
        if isinstance(given, str)
        else tuple(_piece(piece, f"{field}.content[{number}]") for number, piece in enumerate(given))
    )
    return ToolResult(block.tool_use_id, content, is_error=bool(block.is_error), cache=_mark(block.cache_control))


def _piece(piece: TextBlock | ImageBlock, field: str) -> Text | Image:
    if isinstance(piece, TextBlock):
        return Text(piece.text, _mark(piece.cache_control))
    return _image(piece, field)


def _mark(given: CacheControl | None) -> str | None:
    return None if given is None else given.ttl or _LIFETIME


def _marked_last(parts: list[Part], mark: str | None) -> list[Part]:
    """The parts, of which the last that can has a mark."""
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        if isinstance(part, Text | Image | ToolResult):
            return [*parts[:place], part if part.cache else replace(part, cache=mark), *parts[place + 1 :]]
    return parts


def _tool(offer: ToolOffer, number: int) -> Tool:
    if offer.type not in (None, "custom"):
        raise UnsupportedParameter(
            f"the tool {offer.name!r} of the type {str(offer.type)!r} would run at Anthropic, and there is none here",
            field=f"tools[{number}].type",
            hint="offer tools that the client runs: name, description and input_schema",
        )
    return Tool(offer.name, offer.description or "", offer.input_schema, offer.strict, _mark(offer.cache_control))


def _choice(choice: ToolChoice) -> str:
    if choice.type == "tool":
        if not choice.name:
            raise InvalidRequest("tool_choice names no tool", field="tool_choice.name")
        return choice.name
    return "required" if choice.type == "any" else choice.type


def _reasoning(thinking: ThinkingChoice | None, effort: str | None) -> Reasoning | None:
    if thinking is None:
        return Reasoning(effort=effort) if effort else None
    if thinking.type == "disabled":
        return Reasoning(effort="none")
    if thinking.type == "adaptive":
        return Reasoning(effort=effort or _DEFAULT_EFFORT)
    if thinking.budget_tokens is None:
        raise InvalidRequest("thinking that is enabled has a budget_tokens", field="thinking.budget_tokens")
    return Reasoning(effort=effort, budget_tokens=thinking.budget_tokens)
