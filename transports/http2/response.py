"""Results for the caller: a complete reply, or a response whose body is still arriving."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import NamedTuple

from transports.http2.errors import LimitExceeded
from transports.http2.exchange import Exchange
from transports.http2.request import Header


class Reply(NamedTuple):
    """Complete response. Names of headers are in lower case."""

    status: int
    headers: list[Header]
    content: bytes
    http_version: str
    trailers: list[Header]

    def header(self, name: bytes) -> bytes | None:
        """Returns the first value of a header (name in lower case), or None."""
        return next((value for known, value in self.headers if known == name), None)


class Response:
    """Response whose head has arrived and whose body is arriving. Leaving it early cancels the call at the server."""

    __slots__ = ("_exchange", "headers", "http_version", "status")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.status = exchange.status
        self.headers = list(exchange.headers)
        self.http_version = exchange.http_version

    def __del__(self) -> None:
        # Dropped without `async with`: the server must not generate a response that nobody reads.
        exchange = self._exchange
        if not exchange.done and not exchange.loop.is_closed():
            exchange.loop.call_soon_threadsafe(exchange.cancel)

    def __repr__(self) -> str:
        return f"<Response {self.status} of {self._exchange.request!r}>"

    def header(self, name: bytes) -> bytes | None:
        """The first value of that name (in lower case), or None."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def reason(self) -> bytes:
        """Reason phrase of an HTTP/1.1 response; b"" over HTTP/2, which has none."""
        return self._exchange.reason

    @property
    def stream_id(self) -> int:
        """Number of the HTTP/2 stream; 0 over HTTP/1.1."""
        return self._exchange.stream_id

    @property
    def trailers(self) -> list[Header]:
        """Trailers; empty until the body has ended."""
        return self._exchange.trailers

    @property
    def body(self) -> AsyncIterator[bytes]:
        """Body as an async iterator. All bytes since the last piece are one piece."""
        return Body(self)

    async def chunk(self) -> bytes:
        """Waits for more of the body, and returns all that has arrived since the last call; b"" at the end."""
        return await self._exchange.chunk()

    async def read(self, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Reads the rest of the body. A longer one than `max_bytes` (default 64 MiB) is cancelled: LimitExceeded."""
        pieces, size = [], 0
        while piece := await self._exchange.chunk():
            size += len(piece)
            if size > max_bytes:
                self.cancel()
                raise LimitExceeded(f"the body of the response is longer than {max_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def cancel(self) -> None:
        """Cancels the call at the server, without waiting. Does nothing after the end of the response."""
        self._exchange.cancel()


class Body:
    """Body of a response, as an async iterator."""

    __slots__ = ("_response",)

    def __init__(self, response: Response) -> None:
        self._response = response

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        data = await self._response.chunk()
        if not data:
            raise StopAsyncIteration
        return data


class Call:
    """Call with a streamed response: `async with pool.request(...) as response`."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def start(self) -> Response:
        """Sends the request; returns when the head of the response has arrived. The caller must cancel the response."""
        exchange = self.exchange
        exchange.pool.submit(exchange)
        try:
            await exchange.head()
        except BaseException:
            exchange.cancel()
            raise
        return Response(exchange)

    async def __aenter__(self) -> Response:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.exchange.cancel()
