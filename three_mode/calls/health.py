"""Whether the providers answer, asked without spending a token: each is asked for its list of models."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from three_mode.channels.channel import Endpoint
from three_mode.errors import ConfigurationError, ThreeModeError


class Health(Struct, frozen=True, kw_only=True):
    """One provider. `latency` in seconds; `error` says why it is not well; `breakers` lists models that are not tried
    now."""

    provider: str
    ok: bool
    latency: float
    models: int | None = None
    error: str | None = None
    breakers: dict[str, str] = {}


async def check_health(
    providers: Iterable[str],
    endpoint: Callable[[str], Endpoint],
    breakers: Mapping[str, str],
    within: float,
) -> dict[str, Health]:
    """Side by side."""
    found = await asyncio.gather(*(_ask(name, endpoint, breakers, within) for name in sorted(providers)))
    return {each.provider: each for each in found}


async def _ask(name: str, endpoint: Callable[[str], Endpoint], breakers: Mapping[str, str], within: float) -> Health:
    try:
        asked = endpoint(name)
    except ConfigurationError as error:
        return Health(provider=name, ok=False, latency=0.0, error=str(error))
    began, models, said = time.monotonic(), None, None
    try:
        models = len(await asked.models(asyncio.get_running_loop().time() + within))
    except ThreeModeError as error:
        said = f"{type(error).__name__}: {error.message}"
    return Health(
        provider=asked.name,
        ok=said is None,
        latency=time.monotonic() - began,
        models=models,
        error=said,
        breakers={model: state for model, state in breakers.items() if model.startswith(asked.name + "/")},
    )
