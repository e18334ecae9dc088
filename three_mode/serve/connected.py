"""A connection as what the endpoint hands out: providers' models, local ones, and agents by name.

Whoever runs the endpoint says what it opens. A client names a model, an agent on the bus, or a model of the provider:
never a file or an address.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from three_mode.connection import LLMConnection
from three_mode.errors import InvalidRequest, NotFound, ThreeModeError
from three_mode.events.hub import ConnectionHub
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.modes import CommunicationMode, names_files
from three_mode.serve.backend import CONVERSATION, ChunkStream, ModelInfo, TokenCount
from transports.bus import Bus

Asked = TypeVar("Asked", LLMRequest, EmbedRequest, RerankRequest)
LISTED_WITHIN = 2.0  # seconds that a provider has to say which models it has


class Connected:
    """`bus` is the one that the connection knows, if it knows one: its agents are listed. `models` are further names,
    and the address that each stands for: `{"brain": "gguf:models/brain.gguf"}`."""

    def __init__(
        self, connection: LLMConnection, bus: Bus | None = None, models: Mapping[str, str] | None = None
    ) -> None:
        self._connection, self._bus = connection, bus
        self._models = dict(models or {})
        self._only_here = connection.mode is CommunicationMode.AI_PC

    @property
    def event_hub(self) -> ConnectionHub:
        """The hub of the connection's events."""
        return self._connection.event_hub

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        return self._connection.chat_completion(self.addressed(request))

    def stream(self, request: LLMRequest) -> ChunkStream:
        return self._connection.stream(self.addressed(request))

    async def embed(self, request: EmbedRequest) -> Embedded:
        asked = self.addressed(request)
        return await self._connection.embed(
            asked.model, asked.inputs, dimensions=asked.dimensions, within=asked.within, extra=asked.extra
        )

    async def rerank(self, request: RerankRequest) -> Reranked:
        asked = self.addressed(request)
        return await self._connection.rerank(
            asked.model, asked.query, asked.documents, top_n=asked.top_n, within=asked.within, extra=asked.extra
        )

    async def count(self, request: LLMRequest) -> TokenCount:
        """Exact where the tokenizer is here, or the provider counts."""
        asked = self.addressed(request)
        exact = await self._connection.count(asked, **({} if asked.within is None else {"within": asked.within}))
        return TokenCount(self._connection.estimate(asked), exact=False) if exact is None else TokenCount(exact)

    def addressed(self, request: Asked) -> Asked:
        """A client may leave `agent:` out, since from where it stands there is no bus: a role that is there is meant
        first. What names a file or an address is no model here, whether it is there or not."""
        if CONVERSATION in request.extra:
            raise InvalidRequest("this endpoint keeps no conversations", field=CONVERSATION, hint="--talks FILE")
        model = request.model or ""
        address = self._models.get(model)
        if address is None:
            self._check_name(model)
            if ":" not in model and not model.lower().endswith(".gguf"):
                if self._bus is None or model not in _roles(self._bus):
                    self._check_provider(model)
                    return request
                address = f"agent:{model}"
            elif _opens(model) or (self._bus is None and model.startswith("agent:")):
                raise _unknown(model)
            else:
                self._check_provider(model)
                return request
        return request if address == model else msgspec.structs.replace(request, model=address)

    def _check_provider(self, model: str) -> None:
        """Whoever runs the endpoint said which provider answers: a client's `PROVIDER/MODEL` names no other one."""
        if self._connection.provider_of(model) is not None:
            raise _unknown(model)

    def _check_name(self, model: str) -> None:
        """Where every bare name is a model of this computer, a path is one too."""
        if self._only_here and ":" not in model and model not in (*self._connection.local_models(), *_roles(self._bus)):
            raise _unknown(model)

    async def available_models(self) -> Sequence[ModelInfo]:
        """What answers now. A provider that does not say in time is left out: its models can be asked all the same."""
        local = [name for name in self._connection.local_models() if name not in self._models]
        known = [
            *(ModelInfo(f"agent:{role}", "agents") for role in _roles(self._bus)),
            *(ModelInfo(name, "three-mode") for name in self._models),
            *(ModelInfo(name, "local") for name in local),
        ]
        try:
            remote = [ModelInfo(name, "provider") for name in await self._connection.models(within=LISTED_WITHIN)]
        except ThreeModeError:
            remote = []
        return [*known, *remote]


def _unknown(model: str) -> NotFound:
    return NotFound(f"the model {model[:200]!r} does not exist", hint="GET /v1/models lists what answers")


def _opens(model: str) -> bool:
    """Whether a name says which file or address to open."""
    return "://" in model or names_files(model)


def _roles(bus: Bus | None) -> list[str]:
    """The roles that agents have on the bus: `any:brain@host-1` says that host-1 has one of the role `brain`."""
    if bus is None:
        return []
    return sorted({name[4:].partition("@")[0] for name in bus.names() if name.startswith("any:")})
