"""A connection as what the endpoint hands out: providers' models, local ones, and agents by name.

Whoever runs the endpoint says what it opens. A client names a model, an agent on the bus, or a model of the provider:
never a file or an address.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from typing import Any, Self, TypeVar

import msgspec

from three_mode.connection import LLMConnection
from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.events.hub import ConnectionHub
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.modes import CommunicationMode
from three_mode.serve.backend import CONVERSATION, BegunCall, ChunkStream, ModelInfo, TokenCount
from three_mode.serve.bus_models import BusModels
from three_mode.serve.model_rule import ModelRule, names_local, unknown_model
from transports.bus import Bus

Asked = TypeVar("Asked", LLMRequest, EmbedRequest, RerankRequest)
# Names that are known to be allowed, so that the same one is judged once. A client cannot make them without end.
MOST_ALLOWED, LONGEST_ALLOWED = 1000, 200
LISTED_WITHIN = 2.0  # seconds that a provider has to say which models it has


class Connected:
    """`bus` is the one that the connection knows, if it knows one: its agents are listed. `models` are further names,
    and the address that each stands for: `{"brain": "gguf:models/brain.gguf"}`. `rule` is what clients may name; an
    endpoint gives its own, that of its `ServeOptions`."""

    def __init__(
        self,
        connection: LLMConnection,
        bus: Bus | None = None,
        models: Mapping[str, str] | None = None,
        rule: ModelRule = ModelRule(),  # noqa: B008  # a frozen value
    ) -> None:
        self._connection, self._bus, self._rule = connection, bus, rule
        self._models = dict(models or {})
        self._allowed: set[str] = set()  # names that the rule was asked for and let pass
        # Those of them that can stand for nothing else: no agent of the bus, which come and go, takes such a name.
        self._settled: set[str] = set()
        self._roles = None if bus is None else BusModels(bus)

    def ruled(self, rule: ModelRule) -> Self:
        """The same, for clients who may name what this rule says."""
        other = copy(self)
        other._rule, other._allowed, other._settled = rule, set(), set()
        return other

    @property
    def connection(self) -> LLMConnection:
        """The connection that is handed out."""
        return self._connection

    @property
    def event_hub(self) -> ConnectionHub:
        """The hub of the connection's events."""
        return self._connection.event_hub

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        return self._connection.chat_completion(self.addressed(request))

    def begin_completion(
        self,
        request: LLMRequest,
        on_done: Callable[[LLMResponse | Callable[[], Coroutine[Any, Any, LLMResponse]]], None],
    ) -> BegunCall | None:
        return self._connection.begin_completion(self.addressed(request), on_done)

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
        """The request as the connection takes it: what the client named, by its address. A name that is nobody's is
        NotFound, at once; one that says what to open is PermissionDenied, unless the operator gave it."""
        if CONVERSATION in request.extra:
            raise InvalidRequest("this endpoint keeps no conversations", field=CONVERSATION, hint="--talks FILE")
        model = request.model or ""
        if model in self._settled and type(request) is LLMRequest and request.provider is None and request.mode is None:
            return request
        provider, mode = None, None
        if isinstance(request, LLMRequest):
            provider, mode = request.provider, request.mode
        address = self._models.get(model)
        if provider is not None or mode is not None or model not in self._allowed:
            self._check(model, provider, mode, named=address is not None)
        if address is None:
            address = self._address_of(model, mode)
        if address != model:
            return msgspec.structs.replace(request, model=address)
        fixed = self._bus is None or model.startswith("agent:")
        if fixed and provider is None and mode is None and model in self._allowed:
            self._settled.add(model)
        return request

    def _check(self, model: str, provider: str | None, mode: CommunicationMode | None, named: bool) -> None:
        """Raises what a client is told who may not name this. `named`: the operator gave the name."""
        if not named or self._rule.only is not None or provider is not None:
            self._rule.check(model, provider, self._connection.mode if mode is None else mode)
        if provider is not None and provider != self._connection.provider_name:
            raise unknown_model(f"{provider}/{model}")
        if provider is mode is None and len(self._allowed) < MOST_ALLOWED and len(model) <= LONGEST_ALLOWED:
            self._allowed.add(model)

    def _address_of(self, model: str, said: CommunicationMode | None) -> str:
        """The address of a name that is none of `models`. A client may leave `agent:` out, since from where it stands
        there is no bus: a role that is there is meant first."""
        if model.startswith("agent:"):
            if self._bus is None:
                raise unknown_model(model)
            return model
        mode = self._connection.mode if said is None else said
        if ":" not in model and self._is_there(model):
            return f"agent:{model}"
        if names_local(model, mode):  # the rule has let it pass
            known = True
        elif mode is CommunicationMode.AI_PC and ":" not in model:  # where a path is a name too
            known = model in self._connection.local_models()
        elif mode is CommunicationMode.AI_AI:
            known = self._bus is not None
        else:
            # The operator said which provider answers: a client's `PROVIDER/MODEL` names no other one.
            other = self._connection.provider_of(model)
            known = self._named(model) if other is not None else self._connection.has_target(model)
        if not known:
            raise unknown_model(model)
        return model

    def _named(self, model: str) -> bool:
        return self._rule.only is not None and model in self._rule.only

    async def available_models(self) -> Sequence[ModelInfo]:
        """What answers now, under the names that clients use. A provider that does not say in time is left out: its
        models can be asked all the same. So is an agent that is no model: it cannot."""
        if self._rule.only is not None:
            return await self._only(self._rule.only)
        agents, remote = await asyncio.gather(self._agents(), self._remote())
        local = [name for name in self._connection.local_models() if name not in self._models]
        return [
            *(ModelInfo(f"agent:{role}", "agents") for role in agents),
            *(ModelInfo(name, "three-mode") for name in self._models),
            *(ModelInfo(name, "local") for name in local),
            *(ModelInfo(name, "provider") for name in remote),
        ]

    async def _only(self, names: frozenset[str]) -> list[ModelInfo]:
        """The names that the operator gave, but for agents that are there and are no models."""
        addresses = {name: self._models.get(name, name) for name in sorted(names)}
        roles = {name: address.removeprefix("agent:") for name, address in addresses.items() if self._is_agent(address)}
        models = frozenset(await self._agents()) if roles else frozenset[str]()
        return [
            ModelInfo(name, "agents" if name in roles else "three-mode")
            for name in addresses
            if name not in roles or roles[name] in models or not self._is_there(roles[name])
        ]

    def _is_agent(self, address: str) -> bool:
        return address.startswith("agent:") or self._is_there(address)

    def _is_there(self, role: str) -> bool:
        return self._roles is not None and self._roles.has(role)

    async def _agents(self) -> Sequence[str]:
        return () if self._roles is None else await self._roles.models(LISTED_WITHIN)

    async def _remote(self) -> Sequence[str]:
        try:
            return await self._connection.models(within=LISTED_WITHIN)
        except ThreeModeError:
            return ()
