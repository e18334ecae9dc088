"""The connection of conversations whose turns go to several providers: `request.provider` is a name in a configuration.

Conversations and the tool loop see one connection; each request goes to the provider that it names.
"""

from collections.abc import Coroutine, Mapping
from typing import Any

from msgspec.structs import replace

from three_mode.compat.coda.base_provider import BaseLLMProvider, ConfiguredProvider
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.providers import Capabilities, capabilities, estimate_tokens
from three_mode.tools.events import RunReply
from three_mode.tools.run import AnyTools, RunStream, run
from three_mode.tools.run_state import RunLimits

Provider = BaseLLMProvider | ConfiguredProvider


class Dispatch:
    """What `Conversations` asks of a connection, over the providers of a manager."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self.default = ""

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
        return self.named(request.provider).chat_completion(_sent(request))

    def stream(self, request: LLMRequest) -> Any:
        return self.named(request.provider).stream(_sent(request))

    def run(
        self, request: LLMRequest, tools: AnyTools = (), *, most_rounds: int = 5, within: float | None = None
    ) -> Coroutine[Any, Any, RunReply]:
        return run(self, request, tools, RunLimits(most_rounds=most_rounds, within=within))

    def run_stream(
        self, request: LLMRequest, tools: AnyTools = (), *, most_rounds: int = 5, within: float | None = None
    ) -> RunStream:
        return RunStream(self, request, tools, RunLimits(most_rounds=most_rounds, within=within))

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

    def _connection(self, model: str) -> LLMConnection | None:
        """The connection of the provider that has a model; None where a program's own provider has it."""
        for provider in self._providers.values():
            if isinstance(provider, ConfiguredProvider) and provider.model == model:
                return provider.connection
        return None


def _sent(request: LLMRequest) -> LLMRequest:
    return request if request.provider is None else replace(request, provider=None)
