"""A model is an agent: one engine or one pool of connections, for every agent in every process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import begins, handler
from three_mode.agents.runtime.requests import Parts
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse

# As many calls as one model has at once; the engine, or the provider's limiter, decides which of them run.
AT_ONCE = 1024


class ModelSource(Struct, frozen=True, omit_defaults=True):
    """Where the answers come from: a model as a request would name it, and at which provider."""

    model: str
    provider: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    """The name of the environment variable that holds the key: keys themselves stay off the bus."""


class Model(Agent):
    """Answers requests with one model. `Orchestrator.model` puts one on the bus, in a process of its own."""

    mailbox = 16 * AT_ONCE

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self._connection: Any = None
        self._batches: Any = None
        self._local: Any = None

    async def started(self) -> None:
        """Loads the model now, so that a wrong path is an error of the spawn and not of the first call."""
        from three_mode.agents.model_connection import connect

        self._connection, self._batches, self._local = await connect(self.source)

    async def stopped(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        reply: LLMResponse = await self._connection.chat_completion(self._ours(request))
        return reply

    @handler(concurrent=AT_ONCE)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        """Chunks as they come, those that came together in one message."""
        within = self._within(request.within)
        async with aclosing(self._batches(request, self.source.model, within)) as batches:
            async for batch in batches:
                yield batch

    @begins(stream_completion)
    def _begin_stream(self, parts: Parts, request: LLMRequest) -> "asyncio.Future[None] | None":
        """A local engine's thread sends its chunks itself."""
        if self._local is None:
            return None
        flow: asyncio.Future[None] | None = self._local.flow(request, self._within(request.within), parts)
        return flow

    @handler(concurrent=AT_ONCE)
    async def embed(self, request: EmbedRequest) -> Embedded:
        embedded: Embedded = await self._connection.embed(
            self.source.model,
            request.texts,
            dimensions=request.dimensions,
            within=self._within(request.within),
            extra=request.extra,
        )
        return embedded

    def _ours(self, request: LLMRequest) -> LLMRequest:
        """For our model, and within what remains of the caller's time."""
        return request.addressed(self.source.model, self._within(request.within))

    def _within(self, asked: float | None) -> float | None:
        remaining = self.remaining()
        return asked if remaining == float("inf") else max(0.001, remaining)
