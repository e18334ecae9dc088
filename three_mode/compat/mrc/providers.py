"""Providers of MRC's document: what a connection of `three_mode` does with one provider named."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from three_mode.compat.missing_keys import is_available
from three_mode.compat.mrc.configuration import ProviderConfig
from three_mode.compat.mrc.errors import named_errors
from three_mode.compat.mrc.values import LLMResponse
from three_mode.messages import LLMRequest
from three_mode.providers import capabilities
from three_mode.providers.estimate import estimate_text
from three_mode.sync import LLMConnection

Messages = Sequence[Mapping[str, Any]]


class BaseProvider(ABC):
    """A provider. A subclass of a program's own may stand in `ProviderManager.providers`."""

    @abstractmethod
    def is_available(self) -> bool:
        """Whether it can be tried: it has its key, or its program."""

    @abstractmethod
    def generate_response(self, messages: Messages, **kwargs: Any) -> LLMResponse:
        """The answer."""

    @abstractmethod
    def generate_stream(self, messages: Messages, **kwargs: Any) -> Iterator[str]:
        """The answer in pieces."""

    @abstractmethod
    def get_model_info(self) -> dict[str, Any]:
        """The model, and what it can do."""

    def validate_config(self) -> bool:
        """Whether the settings are usable."""
        return self.is_available()

    def estimate_tokens(self, text: str) -> int:
        """About how many tokens a text has."""
        return estimate_text(text)


class ConnectedProvider(BaseProvider):
    """A provider that a connection of `three_mode` reaches; with the name "", the one that the connection finds."""

    provider_name: ClassVar[str] = ""

    def __init__(self, llm: LLMConnection, config: ProviderConfig) -> None:
        self._llm, self.config = llm, config
        self.name = config.name

    def is_available(self) -> bool:
        """Whether it has its key, or its program."""
        return is_available(self._llm._async, self.name)

    def generate_response(self, messages: Messages, **kwargs: Any) -> LLMResponse:
        """The answer. Keywords are fields of `LLMRequest`, such as `model` and `max_tokens`."""
        with named_errors(self._llm._async, self.name):
            return LLMResponse.of(self._llm.chat_completion(self._request(messages, kwargs)))

    def generate_stream(self, messages: Messages, **kwargs: Any) -> Generator[str, None, LLMResponse]:
        """The answer in pieces; the generator returns the whole one. Closing it ends the call at the provider."""
        with named_errors(self._llm._async, self.name), self._llm.stream(self._request(messages, kwargs)) as stream:
            for chunk in stream:
                if chunk.text:
                    yield chunk.text
            return LLMResponse.of(stream.response())

    def get_model_info(self) -> dict[str, Any]:
        """The model, its provider, and what the table of models knows about it."""
        model = self.config.model or self._llm.default_model
        return {"provider": self.name, "model": model, "capabilities": capabilities(model) if model else None}

    def _request(self, messages: Messages, options: Mapping[str, Any]) -> LLMRequest:
        fields = {name: value for name, value in options.items() if value is not None}
        if self.name:
            fields = {"model": self.config.model} | fields | {"provider": self.name}
        return LLMRequest(messages=messages, **fields)


class AnthropicProvider(ConnectedProvider):
    """Anthropic's models."""

    provider_name = "anthropic"


class OpenAIProvider(ConnectedProvider):
    """OpenAI's models."""

    provider_name = "openai"


class ClaudeCLIProvider(ConnectedProvider):
    """Models behind the `claude` command, with the login that it has."""

    provider_name = "claude-cli"


_CLASSES = {kind.provider_name: kind for kind in (AnthropicProvider, OpenAIProvider, ClaudeCLIProvider)}


def connected_provider(llm: LLMConnection, config: ProviderConfig) -> ConnectedProvider:
    """A provider by its name."""
    return _CLASSES.get(config.name, ConnectedProvider)(llm, config)
