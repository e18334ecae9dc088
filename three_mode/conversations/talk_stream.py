"""Streamed answer of a conversation: chunks as they come. The turn is kept when the stream ends, however it ends."""

from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Protocol, Self

from three_mode.messages import Chunk, LLMResponse


class AnswerSource(Protocol):
    """A streamed reply of a connection: of a call, or of a run with tools."""

    def response(self) -> LLMResponse: ...


class TalkStream:
    """Chunks of an answer, and where tools are used the events of their run.

    It begins when it is first read, or entered. Leaving an `async with` block early ends the call; the text that came
    is kept as the answer.
    """

    def __init__(self, begin: "Callable[[TalkStream], AsyncGenerator[Chunk | Any, None]]") -> None:
        self._chunks = begin(self)
        self._waiting: list[Any] = []
        self.source: AnswerSource | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._waiting:
            return self._waiting.pop()
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        try:
            self._waiting = [await anext(self._chunks)]
        except StopAsyncIteration:
            pass
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the call, at the model too."""
        self._waiting.clear()
        await self._chunks.aclose()

    def response(self) -> LLMResponse:
        """The answer so far; `finish_reason` is "cancelled" until it is whole."""
        return self.source.response() if self.source is not None else LLMResponse(finish_reason="cancelled")

    async def text(self) -> str:
        """Read to the end; the whole text."""
        async for _ in self:
            pass
        return self.response().content
