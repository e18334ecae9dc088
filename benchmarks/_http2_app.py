"""ASGI application of the HTTP/2 benchmarks: a constant answer, a wait of one second, a hundred events."""

import asyncio
from typing import Any

ANSWER = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"%s"}}]}' % (b"hello " * 40)
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hello world"}}]}\n\n'
EVENTS = 100


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers a request by its path."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/events":
        await _head(send, b"text/event-stream")
        for _ in range(EVENTS):
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            await asyncio.sleep(0)  # each event is a separate frame
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/second":
        await asyncio.sleep(1.0)
    await _head(send, b"application/json", (b"content-length", b"%d" % len(ANSWER)))
    await send({"type": "http.response.body", "body": ANSWER})


async def _head(send: Any, content_type: bytes, *more: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type), *more]})
