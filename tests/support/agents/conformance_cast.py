"""Agents of the suite that runs wherever agents can be: in this process, in a host, on another node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

from tests.support.agents.tracing import FileTracer
from tests.support.cluster.cluster_cast import Scout
from three_mode import LLMResponse, handler
from three_mode.agents.model import Model
from three_mode.errors import Overloaded
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest


class Worker(Scout):
    """A Scout that also calls others, and a model."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: dict[str, int] = {}

    @handler
    async def waits_for(self, other: str, seconds: float) -> str:
        return str(await self.ref(other).ask("wait", 30.0, within=seconds))

    @handler(idempotent=True, concurrent=100)
    async def answers_at(self, attempt: int, key: str) -> int:
        """Answer the attempt of this number, and those after it; leave the ones before to their deadline."""
        times = self.attempts[key] = self.attempts.get(key, 0) + 1
        if times < attempt:
            await asyncio.sleep(60.0)
        return times

    @handler(idempotent=True)
    async def full_until(self, attempt: int, key: str) -> int:
        times = self.attempts[key] = self.attempts.get(key, 0) + 1
        if times < attempt:
            raise Overloaded("full")
        return times

    @handler
    async def ends(self) -> None:
        self.stop()

    @handler(concurrent=100)
    async def asks(self, model: str, text: str) -> str:
        request = LLMRequest(model=model, messages=[{"role": "user", "content": text}])
        return str((await self.llm.chat_completion(request)).content)


class CalmTracer(FileTracer):
    """A tracer that also writes messages without a trace: those of models."""

    def handling(self, agent: str, handler: str, trace: str, sender: str) -> AbstractContextManager[None]:
        return super().handling(agent, handler, trace or "00-none-0-01", sender)


class Parrot(Model):
    """A model that says what it was told, a word at a time."""

    def __init__(self) -> None:
        self.ended = 0

    @handler(concurrent=100)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse.of(request.messages[-1].text, model="parrot")

    @handler(concurrent=100)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk] | Chunk | str]:
        words = request.messages[-1].text.split()
        try:
            for _ in range(1000 if words[0] == "endless" else 1):
                for word in words:
                    yield f"{word} "
        finally:
            self.ended += 1

    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((float(len(str(text))), 1.0) for text in request.inputs), model="parrot")

    @handler
    async def endings(self) -> int:
        return self.ended
