"""ASGI application of real servers in the tests: echoes, streams, waits, and reports who left early."""

import asyncio
from typing import Any

left: list[str] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    path = scope["path"]
    if path == "/endless":
        await _endless(receive, send)
    elif path == "/events":
        await _head(send, b"text/event-stream")
        for number in range(100):
            await _data(send, b"data: %d\n\n" % number)
        await _data(send, b"", more=False)
    else:
        if path == "/slow":
            await asyncio.sleep(0.3)
        await _head(send, b"application/json", len(body if path == "/echo" else b"{}"))
        await _data(send, body if path == "/echo" else b"{}", more=False)


async def _endless(receive: Any, send: Any) -> None:
    gone = asyncio.ensure_future(receive())
    await _head(send, b"text/event-stream")
    try:
        while not gone.done():
            await _data(send, b"data: more\n\n")
            await asyncio.sleep(0.005)
    except Exception:  # noqa: BLE001 - each server says in its own way that the client has left
        pass
    finally:
        gone.cancel()


async def _head(send: Any, content_type: bytes, length: int | None = None) -> None:
    headers = [(b"content-type", content_type)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _data(send: Any, data: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
