"""Several answers to one request: as many requests side by side through the one backend, which end together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from three_mode.errors import ThreeModeError
from three_mode.messages import CacheHints, Chunk, Finish, LLMRequest, LLMResponse, Usage, UsageUpdate
from three_mode.serve import faults
from three_mode.serve.backend import ChatBackend
from three_mode.serve.wire_out import ChunkWriter

_MOST_WAITING = 64  # chunks that wait for a client that reads slowly; beyond, the models behind it wait


class NumberedChunk(Struct, frozen=True, gc=False):
    """A chunk of one of several answers."""

    index: int
    chunk: Chunk


def requests(request: LLMRequest, count: int) -> list[LLMRequest]:
    """The requests whose answers are wanted: each with a seed of its own, and none with the kept reply of another."""
    made = [request]
    for number in range(1, count):
        if request.seed is not None:
            made.append(replace(request, seed=request.seed + number))
        else:
            made.append(replace(request, cache=replace(request.cache or CacheHints(), response="skip")))
    return made


async def answers(backend: ChatBackend, asked: Sequence[LLMRequest]) -> list[LLMResponse]:
    """The whole answers, in order. The first that fails, or a caller that leaves, ends all of them."""
    tasks: list[asyncio.Task[LLMResponse]] = _begun([backend.chat_completion(request) for request in asked])
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _ended(tasks)


def _begun(work: Sequence[Coroutine[Any, Any, Any]]) -> "list[asyncio.Task[Any]]":
    return [asyncio.create_task(each) for each in work]


async def _ended(tasks: "Sequence[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class SeveralStreams:
    """Streams side by side as one: `NumberedChunk`s as they come; behind the last, the usage of all and a `Finish`."""

    def __init__(self, backend: ChatBackend, asked: Sequence[LLMRequest]) -> None:
        self._backend, self._asked = backend, asked
        self._come: asyncio.Queue[NumberedChunk | BaseException] = asyncio.Queue(_MOST_WAITING)
        self._tasks: list[asyncio.Task[Any]] = []
        self._left = len(asked)
        self._usages = [Usage()] * len(asked)
        self._last: list[Chunk] = []

    async def __aenter__(self) -> Self:
        self._tasks = _begun([self._read(index, request) for index, request in enumerate(self._asked)])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await _ended(self._tasks)

    async def _read(self, index: int, request: LLMRequest) -> None:
        try:
            async with self._backend.stream(request) as chunks:
                async for chunk in chunks:
                    await self._come.put(NumberedChunk(index, chunk))
                    if isinstance(chunk, Finish):
                        return
            await self._come.put(NumberedChunk(index, Finish("unknown")))
        except Exception as error:  # noqa: BLE001  # its reader raises it
            await self._come.put(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if not self._left:
            if not self._last:
                raise StopAsyncIteration
            return self._last.pop()
        come = await self._come.get()
        if isinstance(come, BaseException):
            raise come
        if isinstance(come.chunk, UsageUpdate):
            self._usages[come.index] = come.chunk.usage
        elif isinstance(come.chunk, Finish):
            self._left -= 1
            self._last = [Finish(), UsageUpdate(sum(self._usages, Usage()))]
        return come


class SeveralWriter:
    """Chunks of several answers as one stream of events; `make` makes the writer of one, from its index."""

    def __init__(self, count: int, make: Callable[..., ChunkWriter]) -> None:
        self._writers = [make(index=index) for index in range(count)]
        self._usage = Usage()

    def first(self) -> bytes:
        """The beginning of each answer."""
        return b"".join(writer.first() for writer in self._writers)

    def write(self, chunk: Chunk | NumberedChunk) -> bytes:
        """The events of a chunk of one answer; and of the end of all."""
        if isinstance(chunk, NumberedChunk):
            return self._writers[chunk.index].write(chunk.chunk)
        if isinstance(chunk, UsageUpdate):
            self._usage = chunk.usage
        return self._writers[0].end(self._usage) if isinstance(chunk, Finish) else b""

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of answers of which one broke off."""
        return faults.event(error)
