"""Whether the providers answer, asked without spending a token: each is asked for its list of models."""

import asyncio
import time

from msgspec import Struct

from three_mode.channels.human_ai import Endpoint
from three_mode.errors import ThreeModeError


class Health(Struct, frozen=True, kw_only=True):
    """One provider. `latency` in seconds; `error` says why it is not well; `breakers` lists models that are not tried now."""

    provider: str
    ok: bool
    latency: float
    models: int | None = None
    error: str | None = None
    breakers: dict[str, str] = {}


async def ask(endpoint: Endpoint, breakers: dict[str, str], within: float) -> Health:
    began = time.monotonic()
    mine = {name: state for name, state in breakers.items() if name.startswith(endpoint.name + "/")}
    try:
        models = await endpoint.models(asyncio.get_running_loop().time() + within)
    except ThreeModeError as error:
        said = f"{type(error).__name__}: {error.message}"
        return Health(
            provider=endpoint.name, ok=False, latency=time.monotonic() - began, error=said, breakers=mine
        )
    return Health(
        provider=endpoint.name, ok=True, latency=time.monotonic() - began, models=len(models), breakers=mine
    )
