"""A connection as what the endpoint hands out: providers' models, local ones, and agents by name."""

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from three_mode.connection import LLMConnection
from three_mode.errors import NotFound, ThreeModeError
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse
from three_mode.serve.backend import ChunkStream, ModelInfo
from transports.bus import Bus

Asked = TypeVar("Asked", LLMRequest, EmbedRequest)
LISTED_WITHIN = 2.0  # seconds that a provider has to say which models it has


class Connected:
    """`bus` is the one that the connection knows, if it knows one: its agents are listed."""

    def __init__(self, connection: LLMConnection, bus: Bus | None = None) -> None:
        self._connection, self._bus = connection, bus

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        return self._connection.chat_completion(self._addressed(request))

    def stream(self, request: LLMRequest) -> ChunkStream:
        return self._connection.stream(self._addressed(request))

    async def embed(self, request: EmbedRequest) -> Embedded:
        asked = self._addressed(request)
        return await self._connection.embed(
            asked.model, asked.texts, dimensions=asked.dimensions, within=asked.within, extra=asked.extra
        )

    def _addressed(self, request: Asked) -> Asked:
        """A client may leave `agent:` out, since from where it stands there is no bus: a role that is there is meant
        first."""
        model = request.model or ""
        if self._bus is None or ":" in model or model not in _roles(self._bus):
            self._check_provider(model)
            return request
        return msgspec.structs.replace(request, model=f"agent:{model}")

    def _check_provider(self, model: str) -> None:
        """Whoever runs the endpoint said which provider answers: a client's `PROVIDER/MODEL` names no other one."""
        if self._connection.provider_of(model) is not None:
            raise NotFound(f"the model {model[:200]!r} does not exist", hint="GET /v1/models lists what answers")

    async def available_models(self) -> Sequence[ModelInfo]:
        """What answers now. A provider that does not say in time is left out: its models can be asked all the same."""
        local = [ModelInfo(name, "local") for name in self._connection.local_models()]
        agents = [ModelInfo(f"agent:{role}", "agents") for role in _roles(self._bus)]
        try:
            remote = [ModelInfo(name, "provider") for name in await self._connection.models(within=LISTED_WITHIN)]
        except ThreeModeError:
            remote = []
        return [*agents, *local, *remote]


def _roles(bus: Bus | None) -> list[str]:
    """The roles that agents have on the bus: `any:brain@host-1` says that host-1 has one of the role `brain`."""
    if bus is None:
        return []
    return sorted({name[4:].partition("@")[0] for name in bus.names() if name.startswith("any:")})
