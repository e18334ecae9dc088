"""Makes the connection behind a model on the bus: a local engine, or a provider's pool."""

import os

from three_mode.agents.model import ModelSource
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError


async def connect(source: ModelSource) -> LLMConnection:
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
        await connection.prepare(source.model)
    except BaseException:
        await connection.close()
        raise
    return connection
