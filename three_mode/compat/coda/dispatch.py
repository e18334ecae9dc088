"""The connection of conversations whose turns go to several providers: `request.provider` is a name in a configuration.

Conversations and the tool loop see one connection; each request goes to the provider that it names.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from msgspec.structs import replace

from three_mode.compat.coda.base_provider import BaseLLMProvider, ConfiguredProvider
from three_mode.compat.coda.made_stream import MadeStream
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError
from three_mode.events import ConnectionHub
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import Capabilities, capabilities, estimate_tokens
from three_mode.serve.telling import ToldBackend
from three_mode.tools.events import RunReply
from three_mode.tools.run import AnyTools, AskedModel, RunStream, run
from three_mode.tools.run_state import OutcomeListener, RunLimits

Provider = BaseLLMProvider | ConfiguredProvider
_WITHIN = 60.0  # seconds of a call to a provider of the program that names none


class Dispatch:
    """What `Conversations` asks of a connection, over the providers of a manager."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self.default = ""
        self._leave: list[Callable[[], None]] = []
        #: what happens on the connections of all providers, to conversations, and to a program's own providers
        self.event_hub = ConnectionHub(self._follow)

    def named(self, name: str | None) -> Provider:
        """A provider by its name in the configuration; None: the default one."""
        chosen = name or self.default or next(iter(self._providers), "")
        found = self._providers.get(chosen)
        if found is None:
            raise ConfigurationError(
                f"no provider {chosen!r} is configured" if chosen else "no provider is configured",
                hint=f"LLMConfig(providers=...) has {', '.join(self._providers) or 'none'}",
            )
        return found

    def model_of(self, name: str | None) -> str:
        """The model of a provider, as conversations count it."""
        provider = self.named(name)
        return provider.model if isinstance(provider, ConfiguredProvider) else str(provider.get_provider_name())

    @property
    def summariser(self) -> str | None:
        """The model that summarises; None where no provider is configured."""
        return self.default_model if self._providers else None

    # As a connection

    @property
    def default_model(self) -> str:
        return self.model_of(None)

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        return self._asked(self.named(request.provider)).chat_completion(_sent(request))

    def stream(self, request: LLMRequest) -> Any:
        provider, sent = self.named(request.provider), _sent(request)
        if isinstance(provider, ConfiguredProvider):
            return provider.stream(sent)
        return MadeStream(self._asked(provider).chat_completion(sent))

    def run(
        self, request: LLMRequest, tools: AnyTools = (), *, asked: AskedModel | None = None, **limits: Any
    ) -> Coroutine[Any, Any, RunReply]:
        return run(asked or self, request, tools, RunLimits(**limits), self._outcomes(request))

    def run_stream(
        self, request: LLMRequest, tools: AnyTools = (), *, asked: AskedModel | None = None, **limits: Any
    ) -> RunStream:
        return RunStream(asked or self, request, tools, RunLimits(**limits), self._outcomes(request))

    def default_within(self, model: str | None = None) -> float:
        llm = self._connection(model or self.default_model)
        return _WITHIN if llm is None else llm.default_within(model)

    async def local_model(self, model: str) -> Any:
        llm = self._connection(model)
        return None if llm is None else await llm.local_model(model)

    async def count(self, request: LLMRequest, *, within: float = 10.0) -> int | None:
        llm = self._connection(request.model or "")
        return None if llm is None else await llm.count(_sent(request), within=within)

    def capabilities(self, model: str) -> Capabilities:
        return capabilities(model)

    def estimate(self, request: LLMRequest) -> int:
        return estimate_tokens(request, request.model or "")

    def _asked(self, provider: Provider) -> Provider | ToldBackend:
        """A provider whose calls are told: a connection tells its own."""
        if isinstance(provider, ConfiguredProvider) or not self.event_hub.wanted:
            return provider
        told = ToldBackend(provider)
        told.event_hub = self.event_hub
        return told

    def _outcomes(self, request: LLMRequest) -> OutcomeListener | None:
        """Who tells of the tool calls of a run."""
        provider = self.named(request.provider)
        return provider.connection._services.tell_outcome if isinstance(provider, ConfiguredProvider) else None

    def _follow(self) -> None:
        """Listens to what somebody wants on each connection, and to nothing else."""
        for leave in self._leave:
            leave()
        wanted, self._leave = self.event_hub.wanted, []
        if wanted:
            configured = [each for each in self._providers.values() if isinstance(each, ConfiguredProvider)]
            hubs = [hub for each in configured if not (hub := each.connection.event_hub).closed]
            self._leave = [hub.attach(wanted, self.event_hub.publish) for hub in hubs]

    def _connection(self, model: str) -> LLMConnection | None:
        """The connection of the provider that has a model; None where a program's own provider has it."""
        for provider in self._providers.values():
            if isinstance(provider, ConfiguredProvider) and provider.model == model:
                return provider.connection
        return None


def _sent(request: LLMRequest) -> LLMRequest:
    return request if request.provider is None else replace(request, provider=None)
