"""Agent that puts a model on the bus, by a connection of its own: one engine or one pool of connections, for every
agent in every process. `Orchestrator.model` starts it, in a process of its own."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from three_mode.agents.handlers.declare import begins
from three_mode.agents.model import Model, ModelSource
from three_mode.agents.runtime.requests import Parts
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError
from three_mode.host_connection import observed_by, read_model
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest

if TYPE_CHECKING:
    from three_mode.agents.handlers.tracing import Tracer
    from three_mode.channels.local.channel import LocalAnswers
    from three_mode.channels.local.streams import LocalBatches
    from three_mode.connection import ConnectionFigures

# A request, the model's name and the seconds it has: the answer in batches of chunks, which its reader closes.
Batches = Callable[[LLMRequest, str, float | None], "LocalBatches | AsyncGenerator[list[Chunk], None]"]


class HostedModel(Model):
    """Answers requests with one model."""

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self._connection: LLMConnection
        self._batches: Batches
        self._local: LocalAnswers | None = None

    async def started(self) -> None:
        """Load the model now, so that a wrong path or a missing key is an error of the spawn, not of the first call."""
        session = self._three_mode_caller.session
        self._connection = connection = _connect(self.source, session.llm_options, session.tracer)
        try:
            self._local = await connection.local_model(self.source.model)
            if self._local is None:
                await connection.prepare(self.source.model)
        except BaseException:
            await connection.close()
            raise
        self._batches = self._local or _streamed_by(connection)

    async def stopped(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """A whole reply of our model, within what remains of the caller's time."""
        ours = request.addressed(self.source.model, self._within(request.within))
        return await self._connection.chat_completion(ours)

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
        return self._local.flow(request, self._within(request.within), parts)

    async def embed(self, request: EmbedRequest) -> Embedded:
        """A vector for each text."""
        return await self._connection.embed(
            self.source.model,
            request.inputs,
            dimensions=request.dimensions,
            within=self._within(request.within),
            extra=request.extra,
        )

    async def rerank(self, request: RerankRequest) -> Reranked:
        """The documents in order."""
        return await self._connection.rerank(
            self.source.model,
            request.query,
            request.documents,
            top_n=request.top_n,
            within=self._within(request.within),
            extra=request.extra,
        )

    async def connection_figures(self) -> "ConnectionFigures | None":
        """Tokens, money and engine of the connection behind the model; None while it is made."""
        connection = getattr(self, "_connection", None)
        return None if connection is None else await connection.figures()

    def _within(self, asked: float | None) -> float | None:
        remaining = self.remaining()
        return asked if remaining == float("inf") else max(0.001, remaining)


def _connect(source: ModelSource, host_options: str, tracer: "Tracer | None") -> LLMConnection:
    """The connection behind a model: to a local engine, or a provider's pool. What the host's options say counts where
    the source says nothing."""
    key = None
    if source.api_key_env is not None:
        key = os.environ.get(source.api_key_env)
        if not key:
            raise ConfigurationError(
                f"{source.api_key_env} is not set in the host's environment",
                hint="set it before the orchestrator is started: hosts inherit it",
            )
    options, policies = read_model(source, host_options)
    return LLMConnection(
        source.provider,
        key,
        source.base_url,
        model=source.model,
        options=options,
        policies=policies,
        observe=observed_by(tracer),
    )


def _streamed_by(connection: LLMConnection) -> Batches:
    """With the policies of a connection: a provider has limits that all callers share."""

    async def batches(request: LLMRequest, model: str, within: float | None) -> AsyncGenerator[list[Chunk], None]:
        async with connection.stream(request.addressed(model, within)) as chunks:
            while batch := await chunks.batch():
                yield batch

    return batches
