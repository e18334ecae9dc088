"""An ASGI application for tests of the server: paths are what it does."""

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Application:
    """`/echo` sends the body back; `/stream` a part at a time, with trailers; `/wait` answers nothing until its client
    has left; `/held` waits for `release` before it answers, `/late` before it reads.
    """

    scopes: list[Any] = field(default_factory=list)
    gone: int = 0
    running: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)
    lifespan: list[str] = field(default_factory=list)

    @staticmethod
    def scopes_of(application: Any) -> list[Any]:
        """Those that an application of this class was called with."""
        assert isinstance(application, Application)
        return application.scopes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.scopes.append(scope)
        self.running += 1
        try:
            await (self._socket if scope["type"] == "websocket" else self._answer)(scope, receive, send)
        finally:
            self.running -= 1

    async def _lifespan(self, receive: Any, send: Any) -> None:
        for _ in range(2):
            message = await receive()
            self.lifespan.append(message["type"])
            await send({"type": message["type"] + ".complete"})

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/unread":
            await respond(send, b"without reading")
            return
        if path == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone += 1
            return
        if path == "/late":
            await self.release.wait()
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        if path == "/fails":
            raise ValueError("on purpose")
        if path == "/held":
            await self.release.wait()
        if path == "/stream":
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
            for part in (b"one ", b"two ", b"three"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})
            return
        if path == "/breaks":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            raise ValueError("on purpose")
        if path == "/large":
            body = b"x" * (4 << 20)
        await respond(send, body if path in ("/echo", "/large") else b"hello")

    async def _socket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.gone += 1
                return
            await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})


async def respond(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
