"""Our answers as bodies of Anthropic's Messages API. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.messages import LLMResponse, Part, Text, Thinking, ToolCall, Usage
from three_mode.serve.ignored import NOTHING_SENT, Sent
from three_mode.serve.surfaces.anthropic_messages.proofs import sealed
from three_mode.serve.wire_out import Ours, ours

encode = msgspec.json.encode
_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}


class MessagesUsage(Struct, gc=False):
    """Anthropic's input excludes what was read from a cache and written to one; ours includes both."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    output_tokens_details: dict[str, int] | None = None


class _Answer(Struct, gc=False):
    """A body as a struct: half the cost of a dict of dicts, for every answer."""

    id: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    stop_sequence: str | None
    usage: MessagesUsage
    three_mode: Ours
    type: str = "message"
    role: str = "assistant"


def message(response: LLMResponse, number: str, shows_thinking: bool = True, asked: Sent = NOTHING_SENT) -> bytes:
    """The body of an answer that is not streamed; what is ours alone stands under `three_mode`."""
    reason, sequence = stopped(response.finish_reason, response.extra)
    content = [
        _block(part, f"toolu_{number}_{place}", shows_thinking)
        for place, part in enumerate(response.parts)
        if type(part) is not Text or part.text
    ]
    said = ours(response, asked)
    return encode(_Answer(number, response.model, content, reason, sequence, used(response.usage), said))


def stopped(reason: str, extra: Mapping[str, Any]) -> tuple[str, str | None]:
    """Why an answer ended, and the text that ended it, where its model said which."""
    sequence = extra.get("stop_sequence") if extra else None
    if reason == "stop" and isinstance(sequence, str):
        return "stop_sequence", sequence
    return _STOP.get(reason, "end_turn"), None


def used(usage: Usage) -> MessagesUsage:
    """Usage with Anthropic's names."""
    read, written, thought = usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens
    return MessagesUsage(
        max(0, usage.input_tokens - read - written),
        usage.output_tokens,
        read,
        written,
        {"thinking_tokens": thought} if thought else None,
    )


def _block(part: Part, unnamed: str, shows_thinking: bool) -> dict[str, Any]:
    """`unnamed` is the id of a call whose model gave none: a result must name its call."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall):
        # A client reads an object here, and its tool says what is wrong with arguments that are none.
        given = part.arguments if part.raw is None else {"raw": part.raw}
        return {"type": "tool_use", "id": part.id or unnamed, "name": part.name, "input": given}
    if isinstance(part, Thinking):
        if part.redacted is not None:
            return {"type": "redacted_thinking", "data": sealed(part.provider, part.redacted)}
        shown = part.text if shows_thinking else ""
        return {"type": "thinking", "thinking": shown, "signature": sealed(part.provider, part.signature)}
    raise TypeError(f"an answer holds no {type(part).__name__}")
