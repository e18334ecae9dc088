"""What `stream()` gives: chunks as they come, and the reply so far.

async for chunk in llm.stream(request): print(chunk.text, end="")

async with llm.stream(request) as stream:          # leaving the block ends the call at the provider, at once
    async for chunk in stream: ...
    stream.response()                              # all that came, folded
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from three_mode.calls.hooks import EachHook, each_of
from three_mode.channels.channel import OpenReply
from three_mode.errors import StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, Finish, LLMResponse, TextDelta, fold


class Owner(Protocol):
    """Who makes the call: opens it, completes chunks that only it can complete, and hears how it ended. `each` may change what
    the reader is given."""

    each: EachHook | None

    async def open(self) -> OpenReply: ...
    def completed(self, chunk: Chunk) -> Chunk: ...
    async def finished(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse: ...
    def interrupted(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None: ...


class ReplyStream:
    """Begins when it is first asked for a chunk, or entered. One reader at a time."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._open: OpenReply | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Chunk] = deque()
        self._seen: list[Chunk] = []
        self._given = self._seen if owner.each is None else list[Chunk]()
        self._final: LLMResponse | None = None
        self._over = False
        self._told = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._waiting:
            await self._fill()
        return self._waiting.popleft()

    @property
    def waiting(self) -> int:
        """Chunks that are here already."""
        return len(self._waiting)

    def take(self) -> Chunk:
        """One of those."""
        return self._waiting.popleft()

    async def batch(self) -> list[Chunk]:
        """All that has come by now, and at least one chunk; [] at the end. For whoever passes a stream on."""
        if not self._waiting:
            try:
                await self._fill()
            except StopAsyncIteration:
                return []
        batch = list(self._waiting)
        self._waiting.clear()
        return batch

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the call; chunks that came stay in `response()`."""
        self._leave(asyncio.CancelledError("left early"))
        self._waiting.clear()

    def response(self) -> LLMResponse:
        """What has come so far; `finish_reason` is "cancelled" until the reply is whole."""
        return self._final if self._final is not None else fold(self._given)

    async def text(self) -> str:
        """Reads to the end; the whole text."""
        async for _ in self:
            pass
        return self.response().content

    async def _begin(self) -> OpenReply:
        if self._open is None:
            if self._over:
                raise StopAsyncIteration
            self._loop = asyncio.get_running_loop()
            try:
                self._open = await self._owner.open()
            except BaseException as error:
                self._over = self._told = True
                self._owner.interrupted(error, self.response)
                raise
        return self._open

    async def _fill(self) -> None:
        if self._over:
            raise StopAsyncIteration
        source = self._open or await self._begin()
        try:
            batch = await source.more()
        except ThreeModeError as error:
            self._leave(error)
            raise self._interrupted(error) from error
        except BaseException as error:
            self._leave(error)
            raise
        if not batch:
            self._leave(asyncio.CancelledError("no end"))
            raise StopAsyncIteration
        last: Chunk | None = None
        for number, chunk in enumerate(batch):
            if type(chunk) is not TextDelta:
                last = batch[number] = self._owner.completed(chunk)
        self._seen += batch
        try:
            if self._owner.each is not None:
                batch = each_of(self._owner.each, batch)
                self._given += batch
            if type(last) is Finish:
                await self._finish()
        except BaseException as error:  # a hook of the program's
            self._leave(error)
            raise
        self._waiting.extend(batch)

    async def _finish(self) -> None:
        self._told = True
        given = fold(self._given)
        raw = given if self._given is self._seen else fold(self._seen)
        self._final = await self._owner.finished(raw, given)

    def _interrupted(self, error: ThreeModeError) -> StreamInterrupted:
        if isinstance(error, StreamInterrupted):
            return error
        return StreamInterrupted(
            f"the reply broke off: {error.message}",
            partial=self.response(),
            provider=getattr(error, "provider", None),
            model=getattr(error, "model", None),
            status=getattr(error, "status", None),
            request_id=getattr(error, "request_id", None),
            hint="`partial` has what came",
        )

    def _leave(self, why: BaseException) -> None:
        if self._over:
            return
        self._over = True
        if self._open is not None:
            self._open.close()
            if not self._told:
                self._told = True
                self._owner.interrupted(why, self.response)

    def __del__(self) -> None:
        """A loop that was left by `break` drops the stream: the provider is told then too."""
        if self._open is None or self._over or self._loop is None or self._loop.is_closed():
            return
        self._over = True
        self._loop.call_soon_threadsafe(self._open.close)
