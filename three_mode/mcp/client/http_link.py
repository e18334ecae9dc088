"""Messages to an MCP server over HTTP: a request each, whose answer is JSON or a stream of events."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from three_mode.mcp.client.child_link import reply_to
from three_mode.mcp.client.link import Headers, Heard, SessionOver, no_mcp, too_late
from three_mode.mcp.client.options import McpOptions
from three_mode.mcp.eras import CANCELLED, SESSION_HEADER, VERSION_HEADER
from three_mode.mcp.errors import McpServerFailed
from three_mode.mcp.rpc import (
    RpcAnswer,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_notification,
    write_request,
)
from transports.http2 import LimitExceeded, Pool, Request, Response, SSEDecoder, Timeouts, TransportError, split_url

CONNECT = 10.0
MOST_OF_AN_ERROR = 1 << 20
MOST_EVENTS = 4  # times the longest message: bytes of all events before the answer
WAIT_FOR_END = 0.05
SHORT = 2.0  # seconds for what nobody waits for: a cancellation, the end of a session
# The caller holds the deadline of a call; a stream of notifications has none.
PATIENT = Timeouts(connect=CONNECT, pool=None, write=None, first_byte=None, idle=None)
_ALWAYS = (
    (b"user-agent", b"three-mode"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
)


class HttpLink:
    """A link to a URL. Each request stands alone, so a server that failed once may answer the next."""

    def __init__(self, url: str, options: McpOptions, heard: Heard) -> None:
        self.version = ""
        parts = urlsplit(url)
        self.name = f"{parts.hostname}{parts.path}"
        self._url, self._heard, self._most = url, heard, options.most_bytes
        more = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in options.headers.items()
        )
        self._headers = (*_ALWAYS, *more)
        self._session: bytes | None = None
        self._pool = Pool()
        self._numbers = count(1)
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def broken(self) -> bool:
        return False

    async def open(self) -> None:
        try:
            split_url(self._url)
        except TransportError as error:
            raise McpServerFailed(str(error), server=self.name) from None

    async def request(
        self, method: str, params: dict[str, Any], within: float, headers: Headers = ()
    ) -> dict[str, Any]:
        number = next(self._numbers)
        if method == "initialize":
            self._session, self.version = None, ""
        try:
            async with asyncio.timeout(within):
                return await self._asked(number, method, params, headers)
        except TimeoutError:
            raise too_late(self.name, method, within) from None

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        try:
            async with asyncio.timeout(CONNECT):
                async with self._pool.request(self._post(write_notification(method, params))) as response:
                    await response.read(MOST_OF_AN_ERROR)
        except (TransportError, TimeoutError):
            pass  # nobody is told of a notification that did not arrive

    async def follow(self, params: dict[str, Any] | None, told: Callable[[], None], headers: Headers = ()) -> None:
        if params is not None:
            await self._asked(next(self._numbers), "subscriptions/listen", params, headers, told)
            return
        request = Request.to("GET", self._url, (*self._headers, *self._agreed()))
        try:
            async with self._pool.request(request, timeouts=PATIENT) as response:
                if response.status != 200 or not _is(response, b"text/event-stream"):
                    raise RpcFailure(0, f"{self.name} has no stream of notifications")
                told()
                async with aclosing(self._messages(response, bounded=False)) as answers:
                    async for _ in answers:
                        pass
        except TransportError as error:
            raise self._lost(error) from None

    async def close(self) -> None:
        for task in list(self._beside):
            task.cancel()
        if self._session is not None:
            await self._sent(Request.to("DELETE", self._url, (*self._headers, *self._agreed())))
        await self._pool.aclose()

    async def _asked(
        self,
        number: int,
        method: str,
        params: dict[str, Any],
        headers: Headers,
        told: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        request = self._post(write_request(number, method, params), headers)
        try:
            async with self._pool.request(request, timeouts=PATIENT) as response:
                return await self._answer(response, number, method, told)
        except LimitExceeded as error:
            raise no_mcp(self.name, str(error)) from None
        except TransportError as error:
            raise self._lost(error) from None
        except asyncio.CancelledError:
            if self.version:  # agreed on by a handshake; in the other era the end of the request says it
                self._cancel(number)
            raise

    async def _answer(
        self, response: Response, number: int, method: str, told: Callable[[], None] | None
    ) -> dict[str, Any]:
        if response.status != 200:
            raise await self._refusal(response)
        if method == "initialize":
            self._session = response.header(SESSION_HEADER)
        if _is(response, b"text/event-stream"):
            if told is not None:
                told()
            async with aclosing(self._messages(response, bounded=told is None)) as answers:
                async for answer in answers:
                    if _answers(answer, number):
                        await _end(response)
                        return _result(answer)
            raise McpServerFailed(f"{self.name} ended its answer to {method} before it was whole", server=self.name)
        if not _is(response, b"application/json"):
            raise no_mcp(
                self.name, f"content-type {(response.header(b'content-type') or b'')[:100].decode('latin-1')!r}"
            )
        try:
            message = read_message(await response.read(self._most))
        except RpcFailure as failure:
            raise no_mcp(self.name, failure.message) from None
        if not isinstance(message, RpcAnswer) or not _answers(message, number):
            raise no_mcp(self.name, f"no answer to request {number}")
        return _result(message)

    async def _messages(self, response: Response, bounded: bool) -> AsyncGenerator[RpcAnswer, None]:
        """The answers in a stream of events; notifications are heard on the way."""
        decoder, size = SSEDecoder(self._most), 0
        async for data in response.body:
            size += len(data)
            if bounded and size > MOST_EVENTS * self._most:
                raise no_mcp(self.name, f"more than {MOST_EVENTS * self._most} bytes of events, and no answer")
            for event in decoder.feed(data):
                if not event.data:
                    continue
                try:
                    message = read_message(event.data)
                except RpcFailure as failure:
                    raise no_mcp(self.name, failure.message) from None
                if isinstance(message, RpcAnswer):
                    yield message
                elif isinstance(message, RpcNotification):
                    self._heard(message.method, message.params)
                elif isinstance(message, RpcRequest):
                    self._send_beside(reply_to(message))

    async def _refusal(self, response: Response) -> Exception:
        """What an answer that is no success says."""
        body = await response.read(MOST_OF_AN_ERROR)
        if _is(response, b"application/json"):
            try:
                message = read_message(body)
            except RpcFailure:
                pass
            else:
                if isinstance(message, RpcAnswer) and message.failure is not None:
                    return message.failure
        status = response.status
        if status == 404 and self._session is not None:
            return SessionOver()
        if status in (404, 405, 406):
            return RpcFailure(0, f"{self.name} answered {status}")
        hint = "McpOptions(headers={'Authorization': ...})" if status in (401, 403) else None
        if 300 <= status < 400:
            where = (response.header(b"location") or b"")[:200].decode("latin-1")
            hint = f"it points to {where!r}, which is not followed: name that URL if it is meant"
        return McpServerFailed(f"{self.name} answered with status {status}", server=self.name, hint=hint)

    def _post(self, body: bytes, headers: Headers = ()) -> Request:
        return Request.to("POST", self._url, (*self._headers, *(headers or self._agreed())), body)

    def _agreed(self) -> Headers:
        """Headers of what the handshake agreed on."""
        found: list[tuple[bytes, bytes]] = []
        if self.version:
            found.append((VERSION_HEADER, self.version.encode()))
        if self._session is not None:
            found.append((SESSION_HEADER, self._session))
        return tuple(found)

    def _cancel(self, number: int) -> None:
        self._send_beside(write_notification(CANCELLED, {"requestId": number, "reason": "nobody waits for it"}))

    def _send_beside(self, body: bytes) -> None:
        """Sends what nobody waits for. A server that takes none of it gets no more."""
        if len(self._beside) < 64:
            task = asyncio.get_running_loop().create_task(self._sent(self._post(body)))
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    async def _sent(self, request: Request) -> None:
        try:
            await self._pool.fetch(request, max_bytes=MOST_OF_AN_ERROR, until=asyncio.get_running_loop().time() + SHORT)
        except TransportError:
            pass

    def _lost(self, error: TransportError) -> McpServerFailed:
        return McpServerFailed(f"{self.name}: {error}", server=self.name, retryable=True)


def _is(response: Response, kind: bytes) -> bool:
    return (response.header(b"content-type") or b"").lower().startswith(kind)


async def _end(response: Response) -> None:
    """Waits a moment for the end of a stream, so that its connection carries the next request."""
    try:
        async with asyncio.timeout(WAIT_FOR_END):
            while await response.chunk():
                pass
    except (TimeoutError, TransportError):
        pass


def _answers(answer: RpcAnswer, number: int) -> bool:
    """Whether it answers a request: by its number, or by none where the server could not read the request."""
    return answer.id == number or (answer.id is None and answer.failure is not None)


def _result(answer: RpcAnswer) -> dict[str, Any]:
    if answer.failure is not None:
        raise answer.failure
    return answer.result or {}
