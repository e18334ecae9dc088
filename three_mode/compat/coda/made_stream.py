"""A stream of chunks that is made of a whole answer."""

from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Any, Self

from three_mode.messages import Chunk, LLMResponse, chunks_of


class MadeStream:
    """`async for chunk in stream`; leaving it cancels the call."""

    def __init__(self, call: Coroutine[Any, Any, LLMResponse]) -> None:
        self._call, self._reply = call, LLMResponse(finish_reason="cancelled")
        self._chunks = self._made()

    async def _made(self) -> AsyncGenerator[Chunk, None]:
        self._reply = await self._call
        for chunk in chunks_of(self._reply):
            yield chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the call."""
        await self._chunks.aclose()
        self._call.close()

    def response(self) -> LLMResponse:
        """The answer; empty until it is whole."""
        return self._reply
