"""Wire format of OpenAI's text completions, for the scripted provider."""

from typing import Any

from three_mode.testing.script import Answer, Seen, Turn
from three_mode.testing.wire.events import document, event_stream, sse
from three_mode.testing.wire.openai import HEADERS, error, usage_of

ID = "cmpl-scripted"


def render(turn: Turn, seen: Seen) -> Answer:
    """Encodes a turn as the response to a request."""
    request = seen.json
    head = {"id": ID, "object": "text_completion", "created": 1_700_000_000, "model": request.get("model", "scripted")}
    if turn.error is not None:
        return document(error(turn.error), headers=HEADERS)
    if not request.get("stream"):
        body = {**head, "choices": [_choice(turn.content, turn.finish)], "usage": usage_of(turn)}
        return document(body, headers=HEADERS)
    events = [sse({**head, "choices": [_choice(piece)]}) for piece in turn.text]
    events.append(sse({**head, "choices": [_choice("", turn.finish)]}))
    if (request.get("stream_options") or {}).get("include_usage"):
        events.append(sse({**head, "choices": [], "usage": usage_of(turn)}))
    if turn.end_marker:
        events.append(sse(b"[DONE]"))
    return event_stream(events, HEADERS)


def _choice(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
