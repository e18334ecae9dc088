"""ASGI application of the LLM benchmarks: OpenAI's chat completions with a constant answer, whole or as 100 events."""

import asyncio
import json
from typing import Any

USAGE = {"prompt_tokens": 12, "completion_tokens": 40, "total_tokens": 52}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o"}
TEXTS = 100


def _event(choices: list[Any], **more: Any) -> bytes:
    value = {**HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _delta(delta: dict[str, str], reason: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "finish_reason": reason}])


_MESSAGE = {"role": "assistant", "content": "hello " * 40}
ANSWER = json.dumps(
    {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}],
        "usage": USAGE,
    }
).encode()
EVENTS = [
    _delta({"role": "assistant", "content": ""}),
    *[_delta({"content": "hello world"})] * TEXTS,
    _delta({}, "stop"),
    _event([], usage=USAGE),
    b"data: [DONE]\n\n",
]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with a whole reply, or with a stream."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if b'"stream":true' in body.replace(b" ", b""):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        for event in EVENTS:
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(0)  # each event is a separate frame
        await send({"type": "http.response.body", "body": b""})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})
