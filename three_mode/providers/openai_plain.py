"""Plain replies of OpenAI's chat completions, which most are: one answer of a text, counted. Pure.

They are decoded into structs, in C; openai_reply.py reads all others, field by field. What is not plain beyond doubt is
None here, and left to it. Tests hold both against each other.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from three_mode.messages import LLMResponse, Text, Usage
from three_mode.messages.reply import FinishReason

Count = Annotated[int, Meta(ge=0)]


class _OfPrompt(Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _OfCompletion(Struct, gc=False):
    reasoning_tokens: Count | None = None


class _Usage(Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_cache_hit_tokens: Count | None = None  # of DeepSeek
    prompt_tokens_details: _OfPrompt | None = None
    completion_tokens_details: _OfCompletion | None = None


class _PlainMessage(Struct, forbid_unknown_fields=True, gc=False):
    """The fields that hold null are those that an answer of a text leaves empty."""

    role: Any = None
    content: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None
    reasoning: None = None
    audio: None = None
    annotations: list[Any] | None = None


class _PlainChoice(Struct, forbid_unknown_fields=True, gc=False):
    message: _PlainMessage
    index: Any = None
    finish_reason: str | None = None
    logprobs: None = None
    stop_reason: None = None


class _Reply(Struct, forbid_unknown_fields=True, gc=False):
    choices: tuple[_PlainChoice]
    id: str | None = None
    object: Any = None
    created: Any = None
    model: str | None = None
    usage: _Usage | None = None
    service_tier: Any = None
    system_fingerprint: Any = None
    prompt_logprobs: None = None
    error: None = None


_decode = msgspec.json.Decoder(_Reply).decode


def plain_reply(body: bytes, provider: str, finish: dict[str, FinishReason]) -> LLMResponse | None:
    """The reply of a provider, in the words for its end; None where it is not plain."""
    try:
        reply = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    (choice,) = reply.choices
    message, extra = choice.message, dict[str, Any]()
    if reply.service_tier is not None:
        extra["service_tier"] = reply.service_tier
    if reply.system_fingerprint is not None:
        extra["system_fingerprint"] = reply.system_fingerprint
    if message.annotations is not None:
        extra["annotations"] = message.annotations
    return LLMResponse(
        parts=(Text(message.content),) if message.content else (),
        model=reply.model or "",
        provider=provider,
        usage=_usage(reply.usage) if reply.usage is not None else Usage(),
        finish_reason=finish.get(choice.finish_reason, "unknown") if choice.finish_reason else "unknown",
        request_id=reply.id or "",
        extra=extra,
    )


def _usage(used: _Usage) -> Usage:
    prompt, completion = used.prompt_tokens_details, used.completion_tokens_details
    if prompt is None and completion is None:
        return Usage(used.prompt_tokens or 0, used.completion_tokens or 0, used.prompt_cache_hit_tokens or 0)
    cached = prompt.cached_tokens if prompt is not None else None
    return Usage(
        used.prompt_tokens or 0,
        used.completion_tokens or 0,
        (used.prompt_cache_hit_tokens if cached is None else cached) or 0,
        (prompt.cache_write_tokens if prompt is not None else None) or 0,
        (completion.reasoning_tokens if completion is not None else None) or 0,
    )
