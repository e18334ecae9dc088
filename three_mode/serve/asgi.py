"""One HTTP exchange over ASGI: its headers, its body within a limit, its answer. The only file that speaks ASGI's dicts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from three_mode.serve.faults import Fault, fault

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

MOST_THROWN_AWAY = 1 << 20
JSON = (b"content-type", b"application/json")
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class Refused(Exception):
    """The exchange ends with this fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.status)
        self.fault = fault


class Disconnected(Exception):
    """The client went away before its body was whole: there is nobody to answer."""


class Exchange:
    """A request and the answer to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self._headers: Headers = scope["headers"]
        self._receive, self._send = receive, send
        self.status = 0  # of the answer, once it began
        self.always: Headers = ()  # headers that go with the answer, whatever it is

    def header(self, name: bytes) -> str | None:
        found = next((value for key, value in self._headers if key == name), None)
        return None if found is None else found.decode("latin-1")

    async def body(self, limit: int) -> bytes:
        """The whole body. One that is too long is read on for a while and thrown away, so that a client that still
        sends hears why it was refused instead of finding its connection reset."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit + MOST_THROWN_AWAY:
            raise Refused(too_large(limit))
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            size += len(piece)
            done = not message.get("more_body")
            if size > limit:
                pieces.clear()
                if done or size > limit + MOST_THROWN_AWAY:
                    raise Refused(too_large(limit))
                continue
            pieces.append(piece)
            if done:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Cancels the block when the client goes away, so that nothing works for nobody."""
        task = asyncio.current_task()
        assert task is not None
        left = False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            left = True
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and not task.uncancel():
                raise Disconnected from None
            raise
        finally:
            watching.cancel()

    async def answer(self, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
        self.status = status
        length = (b"content-length", b"%d" % len(body))
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *self.always, length]}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refused: Fault) -> None:
        headers = [JSON]
        if refused.retry_after is not None:
            headers.append((b"retry-after", b"%d" % refused.retry_after))
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.answer(refused.status, refused.body, headers)

    async def begin(self, headers: Headers) -> None:
        self.status = 200
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, *self.always]})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})


def too_large(limit: int) -> Fault:
    return fault(413, f"the body is over the limit of {limit} bytes", "body_too_large")
