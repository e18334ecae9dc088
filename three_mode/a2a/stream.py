"""The events of a task at a client, as they come."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Protocol, Self

from three_mode.a2a.folding import Event, TaskFold
from three_mode.a2a.rpc import STREAM
from three_mode.a2a.values import StreamResponse, Task, Value
from three_mode.channels.channel import too_large
from three_mode.errors import DeadlineExceeded, LLMError, StreamInterrupted, ThreeModeError
from three_mode.providers.codec import Headers
from transports.http2 import LimitExceeded, Request, SSEDecoder, TimedOut, TransportError

_MOST_OF_AN_ERROR = 1 << 20


class A2APeer(Protocol):
    """The client that a stream belongs to."""

    name: str
    options: Any

    async def card(self, *, within: float) -> Any: ...
    def request(self, method: str, parameters: Value) -> Request: ...
    def open(self, request: Request) -> Any: ...
    def check(self, status: int, body: bytes, headers: Headers) -> None: ...
    def result(self, kind: Any, body: bytes) -> Any: ...
    def bad(self, what: str) -> LLMError: ...
    def too_late(self, within: float) -> DeadlineExceeded: ...
    def failure(self, error: TransportError, within: float) -> ThreeModeError: ...
    def leave(self, task: str) -> None: ...


class A2AStream:
    """Events of one task: iterate over it within `async with`. `task()` is the task that they make so far."""

    def __init__(self, server: A2APeer, method: str, parameters: Value, within: float) -> None:
        self.fold = TaskFold()
        self._server, self._method, self._parameters, self._within = server, method, parameters, within
        self._decoder = SSEDecoder()
        self._events: deque[Event] = deque()
        self._exchange: Any = None
        self._response: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._within
        await self._server.card(within=self._within)
        call = self._server.open(self._server.request(self._method, self._parameters))
        self._exchange = call.exchange
        self._timer = loop.call_at(ends, self._expire)
        try:
            self._response = response = await call.start()
            if not 200 <= response.status < 300:
                body = await response.read(_MOST_OF_AN_ERROR)
                self._server.check(response.status, body, response.headers)
            if not (response.header(b"content-type") or b"").startswith(b"text/event-stream"):
                # A document instead of a stream: an error, or an answer that is whole.
                self._take(await response.read(self._server.options.reply_bytes))
        except TransportError as error:
            self._close()
            raise self._failure(error) from None
        except BaseException:
            self._close()
            raise
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self.fold.settled:
                self._close()
                raise StopAsyncIteration
            await self._more()
        return self._events.popleft()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._method == STREAM and self.fold.id and not self.fold.settled:
            self._server.leave(self.fold.id)

    def task(self) -> Task:
        """The task so far; BadReply before there is one."""
        found = self.fold.task()
        if found is None:
            raise self._server.bad("it told of no task")
        return found

    async def _more(self) -> None:
        """Reads on."""
        if self._exchange is None:
            raise self._server.bad("the stream was closed before it began")
        try:
            data = await self._exchange.chunk()
            events = self._decoder.feed_data(data) if data else [event.data for event in self._decoder.finish()]
        except TransportError as error:
            raise self._failure(error) from None
        if self._exchange.received > self._server.options.reply_bytes:
            self._exchange.cancel()
            raise too_large(self._server.name, None, self._server.options.reply_bytes)
        for event in events:
            self._take(event)
        if not data and not self.fold.settled:
            raise StreamInterrupted(
                f"{self._server.name}: the stream ended before its task did", provider=self._server.name
            )

    def _take(self, data: bytes) -> None:
        found: StreamResponse = self._server.result(StreamResponse, data)
        try:
            event = found.event
        except ValueError as error:
            raise self._server.bad(str(error)) from None
        self.fold.add(event)
        self._events.append(event)

    def _failure(self, error: TransportError) -> ThreeModeError:
        if self._late:
            return self._server.too_late(self._within)
        found = self._server.failure(error, self._within)
        if self.fold.id and not isinstance(error, TimedOut | LimitExceeded) and isinstance(found, LLMError):
            return StreamInterrupted(found.message, provider=self._server.name)
        return found

    def _expire(self) -> None:
        self._late = True
        self._exchange.give_up(TimedOut("the deadline of the stream has passed", phase="total"))

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.cancel()
