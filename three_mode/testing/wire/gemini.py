"""Wire format of Gemini's generateContent and streamGenerateContent, for the scripted provider."""

from typing import Any

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire.events import JSON, document, encode, event_stream, sse

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    model = seen.path.rpartition("/")[2].partition(":")[0]
    if ":streamGenerateContent" not in seen.path:
        if turn.error is not None:
            return document(error(turn.error, 500, "INTERNAL"), status=500)
        parts = [part for group in _parts(turn) for part in group]
        return document(_response(parts, model, turn, last=True))
    groups = _parts(turn) or [[]]
    responses = [
        _response(parts, model, turn, last=turn.error is None and number == len(groups) - 1)
        for number, parts in enumerate(groups)
    ]
    if turn.error is not None:
        responses.append(error(turn.error, 500, "INTERNAL"))
    if "alt=sse" in seen.path:
        return event_stream([b": keep-alive\n\n"] * turn.keep_alives + [sse(response) for response in responses])
    pieces = [b"[" + encode(responses[0])] + [b",\r\n" + encode(response) for response in responses[1:]]
    return Answer(headers=JSON, pieces=(*pieces, b"]" if turn.end_marker else b""), streamed=True)


def _parts(turn: Turn) -> list[list[dict[str, Any]]]:
    """Parts in groups: one group for each response of a stream."""
    groups: list[list[dict[str, Any]]] = [[{"text": piece, "thought": True}] for piece in turn.thinking]
    groups += [[{"text": piece}] for piece in turn.text]
    for call in turn.tool_calls:
        function = {"name": call.name, "args": call.arguments, "id": call.id}
        groups.append([{"functionCall": function, "thoughtSignature": "c2lnbmVk"}])
    return groups


def _response(parts: list[dict[str, Any]], model: str, turn: Turn, *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = FINISH[turn.finish]
    usage = {
        "promptTokenCount": turn.input_tokens,
        "candidatesTokenCount": turn.output_tokens - turn.reasoning_tokens,
        "thoughtsTokenCount": turn.reasoning_tokens,
        "cachedContentTokenCount": turn.cached_tokens,
        "totalTokenCount": turn.input_tokens + turn.output_tokens,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": "scripted",
    }


def error(message: str, code: int, status: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Body of an error."""
    return {"error": {"code": code, "message": message, "status": status, "details": details or []}}
