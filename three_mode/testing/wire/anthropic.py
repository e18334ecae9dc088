"""Wire format of Anthropic's Messages API, for the scripted provider."""

import json
from typing import Any

from three_mode.testing.script import Answer, Header, Seen, Turn
from three_mode.testing.wire.events import document, event_stream, sse

HEADERS: tuple[Header, ...] = ((b"request-id", b"req_scripted"),)
STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    request = seen.json
    model = request.get("model", "scripted")
    if request.get("stream"):
        return event_stream(_events(turn, model), HEADERS)
    if turn.error is not None:
        return document(error(turn.error), headers=HEADERS)
    content: list[dict[str, Any]] = []
    if turn.thinking:
        content.append({"type": "thinking", "thinking": "".join(turn.thinking), "signature": "c2lnbmVk"})
    if turn.text:
        content.append({"type": "text", "text": turn.content})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in turn.tool_calls
    ]
    body = _message(model) | {
        "content": content,
        "stop_reason": stop(turn),
        "usage": usage_of(turn, turn.output_tokens),
    }
    return document(body, headers=HEADERS)


def _message(model: str) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _events(turn: Turn, model: str) -> list[bytes]:
    events: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        events.append(sse({"type": kind, **fields}, event=kind))

    add("message_start", message=_message(model) | {"usage": usage_of(turn, 1)})
    for _ in range(turn.keep_alives):
        add("ping")
    index = 0
    if turn.thinking:
        add(
            "content_block_start",
            index=index,
            content_block={"type": "thinking", "thinking": "", "signature": ""},
        )
        for piece in turn.thinking:
            add("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": piece})
        add("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "c2lnbmVk"})
        add("content_block_stop", index=index)
        index += 1
    if turn.text:
        add("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for piece in turn.text:
            add("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
        add("content_block_stop", index=index)
        index += 1
    for call in turn.tool_calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        add("content_block_start", index=index, content_block=block)
        arguments = json.dumps(call.arguments)
        half = len(arguments) // 2
        for part in (arguments[:half], arguments[half:]):
            add("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": part})
        add("content_block_stop", index=index)
        index += 1
    if turn.error is not None:
        events.append(sse(error(turn.error), event="error"))
        return events
    add(
        "message_delta",
        delta={"stop_reason": stop(turn), "stop_sequence": None},
        usage={"output_tokens": turn.output_tokens},
    )
    if turn.end_marker:
        add("message_stop")
    return events


def stop(turn: Turn) -> str:
    """Stop reason of the turn."""
    return "tool_use" if turn.tool_calls and turn.finish == "stop" else STOP[turn.finish]


def usage_of(turn: Turn, output_tokens: int) -> dict[str, Any]:
    """Usage of the turn, with this provider's names."""
    return {
        "input_tokens": turn.input_tokens - turn.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": turn.cached_tokens,
        "output_tokens": output_tokens,
    }


def error(message: str, kind: str = "overloaded_error") -> dict[str, Any]:
    """Body of an error."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"}
