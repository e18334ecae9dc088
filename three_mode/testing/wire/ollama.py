"""Wire format of Ollama's chat, for the scripted provider: NDJSON, streamed by default."""

from typing import Any

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire.events import NDJSON, document, encode

CREATED = "2026-01-01T00:00:00.000000Z"


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    request = seen.json
    model = request.get("model", "scripted")
    calls = [{"function": {"name": call.name, "arguments": call.arguments}} for call in turn.tool_calls]
    if request.get("stream", True) is False:
        if turn.error is not None:
            return document({"error": turn.error}, status=500)
        message = _message(turn.content, thinking="".join(turn.thinking), tool_calls=calls)
        return document({"model": model, "created_at": CREATED, "message": message} | _end(turn))
    lines: list[dict[str, Any]] = [
        {"model": model, "created_at": CREATED, "message": _message("", thinking=piece), "done": False}
        for piece in turn.thinking
    ]
    lines += [{"model": model, "created_at": CREATED, "message": _message(piece), "done": False} for piece in turn.text]
    if calls:
        lines.append({"model": model, "created_at": CREATED, "message": _message("", tool_calls=calls), "done": False})
    if turn.error is not None:
        lines.append({"error": turn.error})
    elif turn.end_marker:
        lines.append({"model": model, "created_at": CREATED, "message": _message("")} | _end(turn))
    pieces = [b"\n"] * turn.keep_alives + [encode(line) + b"\n" for line in lines]
    return Answer(headers=NDJSON, pieces=tuple(pieces), streamed=True)


def _message(content: str, thinking: str = "", tool_calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if tool_calls:
        message["tool_calls"] = tool_calls
    return message


def _end(turn: Turn) -> dict[str, Any]:
    """Last line of a stream. `prompt_eval_count` is left out where it is 0, as Ollama does."""
    end = {
        "done": True,
        "done_reason": "length" if turn.finish == "length" else "stop",
        "total_duration": 1_000_000,
        "load_duration": 1_000,
        "prompt_eval_duration": 1_000,
        "eval_count": turn.output_tokens,
        "eval_duration": 1_000,
    }
    if turn.input_tokens:
        end["prompt_eval_count"] = turn.input_tokens
    return end
