"""Answers of agents that are models, as replies: text, a reply, or a dict in one of the shapes that models answer in.

    "Hello!"
    {"content": "Hello!"}                       and beside it: role, tool_calls, reasoning_content, model, usage, ...
    {"text": "Hello!"}
    {"parts": [...]}                            the fields of `LLMResponse`
    {"choices": [{"message": {...}}], ...}      as OpenAI's API has it

What fits none of them is an error that says what came: it never becomes an empty reply.
"""

from collections.abc import Mapping
from typing import Any, get_args

from three_mode.errors import InvalidRequest
from three_mode.messages.chunks import Chunk, Finish, TextDelta
from three_mode.messages.parts import Text
from three_mode.messages.plain import converted, message_from
from three_mode.messages.reply import FinishReason, LLMResponse
from three_mode.messages.usage import Usage

_SHAPES = 'text, LLMResponse(...), or a dict such as {"content": "Hello!"}'
_OF_A_REPLY = frozenset(LLMResponse.__struct_fields__) - {"parts"}
_OF_A_MESSAGE = frozenset({"content", "role", "tool_calls", "reasoning_content", "refusal", "annotations", "audio"})
# Fields of OpenAI's replies that say nothing about the answer.
_OF_AN_ENVELOPE = frozenset({"id", "object", "created", "system_fingerprint", "service_tier"})


def reply_from(value: Any) -> LLMResponse:
    """The reply that an agent means. A value that is no answer is a ValueError."""
    if isinstance(value, str):
        return LLMResponse(parts=(Text(value),) if value else ())
    if not isinstance(value, Mapping):
        raise ValueError(f"{_shown(value)} is no answer of a model: return {_SHAPES}")
    if "parts" in value:
        reply: LLMResponse = converted(dict(value), LLMResponse, "the answer")
        return reply
    if isinstance(value.get("choices"), list | tuple) and value["choices"]:
        return _from_choice(value)
    rest = dict(value)
    if "content" not in rest and isinstance(rest.get("text"), str):
        rest["content"] = rest.pop("text")
    if "content" not in rest and not rest.get("tool_calls"):
        raise ValueError(f"{_shown(value)} is no answer of a model: return {_SHAPES}")
    fields = {name: rest.pop(name) for name in tuple(rest) if name in _OF_A_REPLY}
    if "usage" in fields:
        fields["usage"] = _usage(fields["usage"])
    fields["parts"] = _parts(rest)
    found: LLMResponse = converted(fields, LLMResponse, "the answer")
    return found


def chunks_from(value: "list[Chunk] | Chunk | str") -> list[Chunk]:
    """The chunks that a streaming agent means by what it yields."""
    if isinstance(value, str):
        return [TextDelta(value)] if value else []
    return value if isinstance(value, list) else [value]


def _from_choice(value: Mapping[str, Any]) -> LLMResponse:
    choice = value["choices"][0]
    if not isinstance(choice, Mapping) or not isinstance(choice.get("message"), Mapping):
        raise ValueError(f"choices[0] of {_shown(value)} has no message")
    reason = choice.get("finish_reason")
    fields: dict[str, Any] = {
        "parts": _parts(choice["message"]),
        "finish_reason": reason if reason in get_args(FinishReason) else "unknown" if reason else Finish().reason,
        "extra": {
            name: each
            for name, each in value.items()
            if name not in _OF_AN_ENVELOPE and name not in ("choices", "usage", "model")
        },
    }
    if isinstance(value.get("model"), str):
        fields["model"] = value["model"]
    if value.get("usage") is not None:
        fields["usage"] = _usage(value["usage"])
    return LLMResponse(**fields)


def _parts(message: Mapping[str, Any]) -> tuple[Any, ...]:
    known = {name: value for name, value in message.items() if name in _OF_A_MESSAGE}
    unknown = next((name for name in message if name not in known), None)
    if unknown is not None:
        raise ValueError(f"an answer has no field {unknown!r}: return {_SHAPES}")
    role = known.setdefault("role", "assistant")
    if role != "assistant":
        raise ValueError(f"an answer has the role assistant, not {role!r}")
    try:
        return message_from(known, "the answer").parts
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


def _usage(value: Any) -> Usage:
    """Tokens in our words, or in OpenAI's."""
    if isinstance(value, Mapping) and "prompt_tokens" in value:
        value = {"input_tokens": value["prompt_tokens"], "output_tokens": value.get("completion_tokens", 0)}
    usage: Usage = converted(value, Usage, "the answer.usage")
    return usage


def _shown(value: Any) -> str:
    """What came, without its content."""
    if isinstance(value, Mapping):
        names = ", ".join(repr(str(name)[:40]) for name in list(value)[:8])
        return f"a dict with {names}" if names else "an empty dict"
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
