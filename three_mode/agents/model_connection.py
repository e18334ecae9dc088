"""Makes the connection behind a model on the bus: a local engine, or a provider's pool."""

import os
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from three_mode.agents.model import ModelSource
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError
from three_mode.messages import Chunk, LLMRequest

if TYPE_CHECKING:
    from three_mode.channels.local.channel import LocalAnswers
    from three_mode.channels.local.streams import LocalBatches

# A request, the model's name and the seconds it has: the answer in batches of chunks. Whoever takes it closes it.
Batches = Callable[[LLMRequest, str, float | None], "LocalBatches | AsyncGenerator[list[Chunk], None]"]


async def connect(source: ModelSource) -> tuple[LLMConnection, Batches, "LocalAnswers | None"]:
    """The connection, its streams, and a local model's own."""
    key = None
    if source.api_key_env is not None:
        key = os.environ.get(source.api_key_env)
        if not key:
            raise ConfigurationError(
                f"{source.api_key_env} is not set in the host's environment",
                hint="set it before the orchestrator is started: hosts inherit it",
            )
    connection = LLMConnection(source.provider, key, source.base_url, model=source.model)
    try:
        local = await connection.local(source.model)
    except BaseException:
        await connection.close()
        raise
    return connection, local or _streamed_by(connection), local


def _streamed_by(connection: LLMConnection) -> Batches:
    """With the policies of a connection: a provider has limits that all callers share."""

    async def batches(request: LLMRequest, model: str, within: float | None) -> AsyncGenerator[list[Chunk], None]:
        async with connection.stream(request.addressed(model, within)) as chunks:
            while batch := await chunks.batch():
                yield batch

    return batches
