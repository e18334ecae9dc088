"""Models that follow a script, without a connection: for the loop alone."""

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any, Self

from three_mode.messages import Chunk, LLMRequest, LLMResponse, Text, ToolCall, Usage, chunks_of, fold

Scripted = LLMResponse | Exception | Callable[[LLMRequest], LLMResponse]


def says(text: str, **fields: Any) -> LLMResponse:
    """An answer in words."""
    return LLMResponse(parts=(Text(text),), model="m", usage=Usage(10, 5, cost=Decimal("0.01")), **fields)


def calls(*asked: ToolCall, **fields: Any) -> LLMResponse:
    """An answer that calls tools."""
    fields = {"finish_reason": "tool_calls", "usage": Usage(20, 7, cost=Decimal("0.02"))} | fields
    return LLMResponse(parts=asked, model="m", **fields)


def call(name: str, number: int = 0, **arguments: Any) -> ToolCall:
    """One call of a tool."""
    return ToolCall(f"{name}-{number}", name, arguments)


class ScriptedStream:
    """The chunks of one reply."""

    def __init__(self, model: "ScriptedModel", request: LLMRequest) -> None:
        self._model, self._request = model, request
        self._seen: list[Chunk] = []
        self._left: list[Chunk] = []
        self.closed = False

    async def __aenter__(self) -> Self:
        self._left = list(chunks_of(await self._model.chat_completion(self._request)))
        return self

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if not self._left:
            raise StopAsyncIteration
        self._seen.append(self._left.pop(0))
        return self._seen[-1]

    async def aclose(self) -> None:
        self.closed = True

    def response(self) -> LLMResponse:
        return fold(self._seen)


class ScriptedModel:
    """Answers as scripted, the last answer for ever; `seen` has the requests."""

    def __init__(self, *script: Scripted) -> None:
        self.script: Sequence[Scripted] = script
        self.seen: list[LLMRequest] = []

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        answer = self.script[min(len(self.seen), len(self.script) - 1)]
        self.seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def stream(self, request: LLMRequest) -> ScriptedStream:
        return ScriptedStream(self, request)


def asking(text: str = "What time is it and what's 2+2?", **fields: Any) -> LLMRequest:
    """A request of one message."""
    return LLMRequest(messages=[{"role": "user", "content": text}], **{"model": "m", **fields})
