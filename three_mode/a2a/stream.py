"""The events of a task at a client, as they come."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from three_mode.a2a.folding import Event, TaskFold
from three_mode.a2a.rpc import STREAM
from three_mode.a2a.values import StreamResponse, Task, Value
from three_mode.errors import DeadlineExceeded, LLMError, StreamInterrupted, ThreeModeError
from transports.grpc import GrpcError
from transports.http2 import LimitExceeded, TimedOut, TransportError


class EventSource(Protocol):
    """Events of one stream as a binding brings them. `ended`: no event follows."""

    ended: bool

    async def start(self) -> list[StreamResponse]: ...
    async def more(self) -> list[StreamResponse]: ...
    def give_up(self, error: TimedOut) -> None: ...
    def close(self) -> None: ...


class A2APeer(Protocol):
    """The client that a stream belongs to."""

    name: str

    async def open(self, method: str, parameters: Value, until: float) -> EventSource: ...
    def bad(self, what: str) -> LLMError: ...
    def too_late(self, within: float) -> DeadlineExceeded: ...
    def failure(self, error: TransportError | GrpcError, within: float) -> ThreeModeError: ...
    def leave(self, task: str) -> None: ...


class A2AStream:
    """Events of one task: iterate over it within `async with`. `task()` is the task that they make so far."""

    def __init__(self, server: A2APeer, method: str, parameters: Value, within: float) -> None:
        self.fold = TaskFold()
        self._server, self._method, self._parameters, self._within = server, method, parameters, within
        self._events: deque[Event] = deque()
        self._source: EventSource | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._within
        self._source = source = await self._server.open(self._method, self._parameters, ends)
        self._timer = loop.call_at(ends, self._expire)
        try:
            for event in await source.start():
                self._take(event)
        except (TransportError, GrpcError) as error:
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
        if self._source is None:
            raise self._server.bad("the stream was closed before it began")
        try:
            events = await self._source.more()
        except (TransportError, GrpcError) as error:
            raise self._failure(error) from None
        for event in events:
            self._take(event)
        if self._source.ended and not self.fold.settled:
            raise StreamInterrupted(
                f"{self._server.name}: the stream ended before its task did", provider=self._server.name
            )

    def _take(self, found: StreamResponse) -> None:
        try:
            event = found.event
        except ValueError as error:
            raise self._server.bad(str(error)) from None
        self.fold.add(event)
        self._events.append(event)

    def _failure(self, error: TransportError | GrpcError) -> ThreeModeError:
        if self._late:
            return self._server.too_late(self._within)
        found = self._server.failure(error, self._within)
        if self.fold.id and not isinstance(error, TimedOut | LimitExceeded) and isinstance(found, LLMError):
            return StreamInterrupted(found.message, provider=self._server.name)
        return found

    def _expire(self) -> None:
        self._late = True
        if self._source is not None:
            self._source.give_up(TimedOut("the deadline of the stream has passed", phase="total"))

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._source is not None:
            self._source.close()
