"""Wire format of OpenAI's chat completions, for the scripted provider."""

import json
from typing import Any

from three_mode.testing.script import Answer, Header, Seen, Turn
from three_mode.testing.wire.events import document, event_stream, sse

HEADERS: tuple[Header, ...] = ((b"x-request-id", b"req_scripted"),)
ID = "chatcmpl-scripted"


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    request = seen.json
    model = request.get("model", "scripted")
    if request.get("stream"):
        usage = bool((request.get("stream_options") or {}).get("include_usage"))
        return event_stream(_events(turn, model, usage), HEADERS)
    if turn.error is not None:
        return document(error(turn.error), headers=HEADERS)
    message: dict[str, Any] = {"role": "assistant", "content": turn.content or None, "refusal": None}
    if turn.thinking:
        message["reasoning_content"] = "".join(turn.thinking)
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in turn.tool_calls
        ]
    body = {
        "id": ID,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish(turn), "logprobs": None}],
        "usage": usage_of(turn),
    }
    return document(body, headers=HEADERS)


def _events(turn: Turn, model: str, usage: bool) -> list[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return sse(
            {
                "id": ID,
                "object": "chat.completion.chunk",
                "created": 1_700_000_000,
                "model": model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
                **({"usage": None} if usage else {}),
            }
        )

    events = [chunk({"role": "assistant", "content": ""})]
    events += [b": keep-alive\n\n"] * turn.keep_alives
    events += [chunk({"reasoning_content": piece}) for piece in turn.thinking]
    events += [chunk({"content": piece}) for piece in turn.text]
    for index, call in enumerate(turn.tool_calls):
        arguments = json.dumps(call.arguments)
        half = len(arguments) // 2
        first = {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        events.append(chunk({"tool_calls": [first]}))
        for part in (arguments[:half], arguments[half:]):
            events.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
    if turn.error is not None:
        return [*events, sse(error(turn.error))]
    events.append(chunk({}, finish(turn)))
    if usage:
        events.append(
            sse(
                {
                    "id": ID,
                    "object": "chat.completion.chunk",
                    "created": 1_700_000_000,
                    "model": model,
                    "choices": [],
                    "usage": usage_of(turn),
                }
            )
        )
    if turn.end_marker:
        events.append(sse(b"[DONE]"))
    return events


def finish(turn: Turn) -> str:
    """Finish reason of the turn."""
    return "tool_calls" if turn.tool_calls and turn.finish == "stop" else turn.finish


def usage_of(turn: Turn) -> dict[str, Any]:
    """Usage of the turn, with this provider's names."""
    return {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": turn.input_tokens + turn.output_tokens,
        "prompt_tokens_details": {"cached_tokens": turn.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": turn.reasoning_tokens},
    }


def error(message: str, kind: str = "server_error", code: str | None = None) -> dict[str, Any]:
    """Body of an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
