"""Backends that are no connection, with a hub of events all the same."""

import time
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from three_mode.events.hub import ConnectionHub
from three_mode.events.telling import Whose, tell_chunks, tell_end, tell_reply, tell_start, whose
from three_mode.messages import Chunk, LLMRequest, LLMResponse, fold
from three_mode.serve.backend import ChatBackend, ChunkStream

_numbers = count(1)


@runtime_checkable
class TellingBackend(Protocol):
    """A backend whose calls are told by a hub of its own, as those of a connection are."""

    @property
    def event_hub(self) -> ConnectionHub: ...

    async def chat_completion(self, request: LLMRequest) -> LLMResponse: ...

    def stream(self, request: LLMRequest) -> ChunkStream: ...


class ToldBackend:
    """The chat verbs of a backend, told to a hub."""

    def __init__(self, backend: ChatBackend) -> None:
        self._backend, self.event_hub = backend, ConnectionHub()

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        hub = self.event_hub
        if not hub.wanted:
            return await self._backend.chat_completion(request)
        who, began = whose(f"call_{next(_numbers)}"), time.monotonic()
        tell_start(hub, who, request.model or "", "", "chat_completion")
        try:
            reply = await self._backend.chat_completion(request)
        except BaseException as error:
            _tell_failure(hub, who, request, began, error)
            raise
        tell_reply(hub, who, reply)
        return reply

    def stream(self, request: LLMRequest) -> ChunkStream:
        stream = self._backend.stream(request)
        return ToldStream(self.event_hub, request, stream) if self.event_hub.wanted else stream


class ToldStream:
    """A stream whose chunks and end are told."""

    def __init__(self, hub: ConnectionHub, request: LLMRequest, stream: ChunkStream) -> None:
        self._hub, self._request, self._stream = hub, request, stream
        self._who, self._began = whose(f"call_{next(_numbers)}"), time.monotonic()
        self._seen: list[Chunk] = []
        self._chunks: AsyncIterator[Chunk]

    def __aiter__(self) -> Self:
        self._chunks = aiter(self._stream)
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._chunks)
        self._seen.append(chunk)
        tell_chunks(self._hub, partial(dict, self._who), (chunk,))
        return chunk

    async def __aenter__(self) -> Self:
        tell_start(self._hub, self._who, self._request.model or "", "", "stream")
        try:
            await self._stream.__aenter__()
        except BaseException as error:
            _tell_failure(self._hub, self._who, self._request, self._began, error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)
        if error is not None:
            _tell_failure(self._hub, self._who, self._request, self._began, error)
        else:
            tell_reply(self._hub, self._who, fold(self._seen))


def _tell_failure(hub: ConnectionHub, who: Whose, request: LLMRequest, began: float, error: BaseException) -> None:
    latency = time.monotonic() - began
    tell_end(hub, who, model=request.model or "", provider="", latency=latency, error=error)
