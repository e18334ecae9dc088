"""Between our values and those of `local_models`. Pure: it loads no engine.

A local model takes a few fields that no provider has (`top_k`, `min_p`, `grammar`, `agent`, `priority`...); they come
in `extra`, by the names of `local_models.Generate`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import local_models
from local_models import Generate, GenerateChanges, Piece, Reply
from three_mode import errors
from three_mode.errors import InvalidRequest, ThreeModeError, UnsupportedParameter
from three_mode.messages import (
    Chunk,
    Finish,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
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
from three_mode.messages.plain import converted
from three_mode.modes import CommunicationMode
from three_mode.providers.without_effect import WITHOUT_EFFECT

PROVIDER = "local"
_KNOWN = frozenset(Generate.__struct_fields__)
# Said by fields of the request itself; in `extra` they would contradict those.
_OURS = frozenset(
    {"max_tokens", "temperature", "top_p", "seed", "stop", "schema", "tools", "tool_choice", "thinking", "within"}
)
_ANY_JSON: dict[str, Any] = {"type": ["object", "array"]}


def options_of(request: LLMRequest, within: float | None) -> dict[str, Any]:
    """The keywords of a call to a local model."""
    options: dict[str, Any] = {
        name: value
        for name in ("max_tokens", "temperature", "top_p", "seed")
        if (value := getattr(request, name)) is not None
    }
    if request.stop:
        options["stop"] = request.stop
    if within is not None:
        options["within"] = within
    if request.response_format is not None:
        options["schema"] = request.response_format.json_schema or _ANY_JSON
    if request.tools:
        options["tools"] = tuple(_tool(tool) for tool in request.tools)
        options["tool_choice"] = request.tool_choice or "auto"
    if request.reasoning is not None:
        options["thinking"] = request.reasoning.effort != "none"
    if request.extra:
        options |= _extra_options(request.extra)
    return options


def _extra_options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Nobody has looked at their types before, and a wrong one that came as far as the engine would end it for all
    callers."""
    given = {name: value for name, value in extra.items() if name not in WITHOUT_EFFECT}
    if given.get("logprobs") is True:  # OpenAI's two words for what is one number here
        given["logprobs"] = given.pop("top_logprobs", 0)
    for name in given:
        if name not in _KNOWN - _OURS:
            known = ", ".join(sorted(_KNOWN - _OURS))
            raise UnsupportedParameter(f"a local model has no {name!r}", field=f"extra.{name}", hint=f"it has {known}")
    checked: dict[str, Any] = converted(given, GenerateChanges, "extra")
    return checked


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def messages_of(request: LLMRequest) -> list[dict[str, Any]]:
    """The messages as a chat template expects them."""
    names: dict[str, str] = {}  # of the tools that were called, by the ids of the calls
    return [
        plain
        for index, message in enumerate(request.messages)
        for plain in _plain(message, f"messages[{index}]", names)
    ]


def _plain(message: Message, field: str, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    """One of our messages; tool results become messages of their own, as templates know them."""
    said: list[dict[str, Any]] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for number, part in enumerate(message.parts):
        match part:
            case Text():
                said.append({"type": "text", "text": part.text})
            case Image():
                said.append(_picture(part))
            case ToolCall():
                arguments = part.raw if part.raw is not None else json.dumps(part.arguments)
                function = {"name": part.name, "arguments": arguments}
                names[part.id] = part.name
                calls.append({"id": part.id, "type": "function", "function": function})
            case ToolResult():
                name = part.name or names.get(part.call_id)
                yield {
                    "role": "tool",
                    "tool_call_id": part.call_id,
                    "content": _result(part, f"{field}.content[{number}]"),
                } | ({"name": name} if name else {})
            case Thinking():
                if part.provider in (None, PROVIDER):  # the template says of which turns it stays in the prompt
                    thoughts.append(part.text)
    if said or calls:
        plain: dict[str, Any] = {"role": message.role, "content": said}
        if all(part["type"] == "text" for part in said):
            plain["content"] = "".join([part["text"] for part in said])
        if "".join(thoughts):
            plain["reasoning_content"] = "".join(thoughts)
        yield plain | ({"tool_calls": calls} if calls else {})


def _picture(image: Image) -> dict[str, Any]:
    """A picture as a local model takes it; one with a URL elsewhere is refused there, since nothing is fetched."""
    if image.data is not None:
        return {"type": "image", "data": image.data}
    return {"type": "image_url", "image_url": {"url": image.url}}


def _result(part: ToolResult, field: str) -> str:
    if isinstance(part.content, str):
        return part.content
    if not all(isinstance(piece, Text) for piece in part.content):
        raise UnsupportedParameter("a local model reads no pictures in the result of a tool", field=field)
    return "".join(piece.text for piece in part.content if isinstance(piece, Text))


def usage_of(used: local_models.Usage) -> Usage:
    """Prompt tokens that were in the KV cache already count as cache reads."""
    return Usage(
        input_tokens=used.prompt_tokens,
        output_tokens=used.completion_tokens,
        cache_read_tokens=used.reused_tokens,
        reasoning_tokens=used.reasoning_tokens,
    )


def response_of(reply: Reply, model: str, latency: float, request_id: str) -> LLMResponse:
    calls = tuple(ToolCall(call.id, call.name, call.parsed) for call in reply.tool_calls)
    thought = (Thinking(reply.reasoning, provider=PROVIDER),) if reply.reasoning else ()
    return LLMResponse(
        parts=thought + ((Text(reply.text),) if reply.text else ()) + calls,
        model=model,
        provider=PROVIDER,
        mode=CommunicationMode.AI_PC,
        usage=usage_of(reply.usage),
        finish_reason=reply.finish,
        latency=latency,
        request_id=request_id,
        extra=_extra(reply.scores),
    )


def chunks_of_piece(piece: Piece, latency: float, before: tuple[local_models.TokenScore, ...] = ()) -> Iterator[Chunk]:
    """A piece of text, or the last piece with all that a stream ends with; `before` are the scores of the pieces
    before."""
    if piece.reasoning:
        yield ThinkingDelta(piece.reasoning, provider=PROVIDER)
    if piece.text:
        yield TextDelta(piece.text)
    for index, call in enumerate(piece.tool_calls):
        yield ToolDelta(index, call.id, call.name, json.dumps(call.parsed))
    if piece.usage is not None:
        yield UsageUpdate(usage_of(piece.usage))
    if piece.finish is not None:
        yield Finish(piece.finish, latency, extra=_extra(before + piece.scores))


def _extra(scores: tuple[local_models.TokenScore, ...]) -> dict[str, Any]:
    if not scores:
        return {}
    return {
        "logprobs": [{"token": s.text, "logprob": s.logprob, "top": [list(pair) for pair in s.top]} for s in scores]
    }


def error_of(error: local_models.LocalModelError, model: str) -> ThreeModeError:
    """The same in our tree; what is about the request keeps its field."""
    hint = error.hint or None
    match error:
        case local_models.PromptTooLong():
            return errors.ContextLength(
                error.message,
                field=error.field,
                hint=hint,
                provider=PROVIDER,
                model=model,
                tokens=error.tokens,
                room=error.room,
            )
        case local_models.BadOption():
            return InvalidRequest(error.message, field=error.field or None, hint=hint, provider=PROVIDER, model=model)
        case local_models.UnfitAnswer():
            return errors.SchemaMismatch(
                error.message,
                hint=hint,
                retryable=error.may_differ,
                provider=PROVIDER,
                model=model,
                path=error.path,
                keyword=error.keyword,
            )
        case local_models.Overloaded():
            return errors.Overloaded(error.message, hint=hint)
        case local_models.DeadlineExceeded():
            return errors.DeadlineExceeded(error.message, stage=error.stage, hint=hint, provider=PROVIDER, model=model)
        case local_models.ModelNotFound() | local_models.BadModelFile():
            return errors.NotFound(error.message, hint=hint, provider=PROVIDER, model=model)
        case local_models.EngineMissing():
            return errors.ModeUnavailable(error.message, hint=hint)
        case local_models.WorkerDied() | local_models.ModelClosed():
            return errors.ServerError(error.message, hint=hint, provider=PROVIDER, model=model)
        case _:
            return errors.ServerError(error.message, hint=hint, retryable=False, provider=PROVIDER, model=model)
