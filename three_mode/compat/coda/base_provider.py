"""Providers of Coda's document: a connection of `three_mode` for each, or a class of the program's own.

What conversations and the tool loop ask of a connection (`chat_completion`, `stream`, `run`, `run_stream`) a provider
has too.
"""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec.structs import replace

from three_mode.compat.coda.config import LLMProvider, ProviderConfig
from three_mode.compat.coda.made_stream import MadeStream
from three_mode.compat.missing_keys import is_available, naming_missing_keys
from three_mode.connection import ConnectionOptions, LLMConnection, ReplyStream
from three_mode.errors import BadReply, ConfigurationError, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse, RequestDefaults
from three_mode.modes import CommunicationMode, resolve
from three_mode.policies import CacheOptions, Policies


class BaseLLMProvider(ABC):
    """A provider of the program's own: `_make_request` asks, `_parse_response` reads the answer.

    `manager._providers["mine"] = Mine(config)` puts it beside the others.
    """

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self.requests, self.tokens, self.failures = 0, 0, 0  #: counted by `chat_completion`

    @abstractmethod
    def get_provider_name(self) -> str:
        """Its name in replies and analytics."""

    @abstractmethod
    async def _make_request(self, messages: Any, **kwargs: Any) -> Any:
        """Ask with `messages`, dicts of role and content; more fields of the request are keywords."""

    @abstractmethod
    def _parse_response(self, response: Any) -> Any:
        """The text of what `_make_request` returned, or an `LLMResponse` of `three_mode`."""

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The whole answer."""
        messages = [{"role": each.role, "content": each.text} for each in request.messages]
        told = ("model", "temperature", "max_tokens", "top_p", "stop", "tools", "within")
        options = {name: value for name in told if (value := getattr(request, name)) not in (None, ())}
        self.requests += 1
        try:
            reply = self._parse_response(await self._make_request(messages, **options))
        except Exception:
            self.failures += 1
            raise
        name = str(self.get_provider_name())
        if isinstance(reply, str):
            reply = LLMResponse.of(reply, model=request.model or name)
        if not isinstance(reply, LLMResponse):
            self.failures += 1
            raise BadReply(
                f"{type(self).__name__}._parse_response returned {type(reply).__name__}",
                hint="return the text of the answer, or a three_mode LLMResponse",
                provider=name,
                retryable=False,
            )
        self.tokens += reply.usage.total_tokens
        return reply if reply.provider else replace(reply, provider=name)

    def stream(self, request: LLMRequest) -> MadeStream:
        """The answer as chunks, once it is whole."""
        return MadeStream(self.chat_completion(request))

    def used(self) -> dict[str, Any]:
        """What it was used for."""
        return {
            "model": getattr(self.config, "model", "unknown"),
            "request_count": self.requests,
            "total_tokens": self.tokens,
            "total_cost": 0.0,
            "error_count": self.failures,
        }

    async def status(self) -> dict[str, Any]:
        """Whether it is there, and what it was used for."""
        return {"available": True, **self.used()}

    def naming_errors(self) -> AbstractContextManager[None]:
        """A context for its calls; its errors are its own."""
        return nullcontext()

    async def close(self) -> None:  # noqa: B027  # few have anything to close
        """Ends the use of it."""


class ConfiguredProvider:
    """A provider that a connection of `three_mode` reaches, made when it is first called."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.model = address_of(config)
        self._llm: LLMConnection | None = None

    def get_provider_name(self) -> str:
        """The kind of the provider."""
        return str(self.config.provider)

    @property
    def connection(self) -> LLMConnection:
        """The connection that answers."""
        if self._llm is None:
            self._llm = LLMConnection(**arguments_of(self.config, self.model))
        return self._llm

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        """The whole answer."""
        return self.connection.chat_completion(request)

    def stream(self, request: LLMRequest) -> ReplyStream:
        """The answer as chunks."""
        return self.connection.stream(request)

    def naming_errors(self) -> AbstractContextManager[None]:
        """A context in which a missing key is an error of authentication."""
        return naming_missing_keys(self.connection, self._needs)

    @property
    def _needs(self) -> str | None:
        """The provider whose key a call needs; None for a model of this computer."""
        return None if self.config.provider == LLMProvider.LOCAL else self.connection._services.provider.name

    async def status(self) -> dict[str, Any]:
        """Whether it answers, and what it was used for."""
        return {"available": await self._answers(), **self.used()}

    def used(self) -> dict[str, Any]:
        """What it was used for. The one place that reads it from the connection."""
        sums = self.connection.report(by="provider").total
        return {
            "model": self.config.model,
            "request_count": sums.requests,
            "total_tokens": sums.usage.total_tokens,
            "total_cost": float(sums.cost or 0),
            "error_count": sums.failed,
            "p90_latency": sums.latency.p90,
        }

    async def _answers(self) -> bool:
        llm, name = self.connection, self._needs
        if name is None:
            try:
                return await llm.prepare(self.model)
            except ThreeModeError:  # there is no such file
                return False
        if not is_available(llm, name):
            return False
        health = await llm.health()
        return all(each.ok for each in health.values())

    async def close(self) -> None:
        """Closes the connection."""
        if self._llm is not None:
            await self._llm.close()


def address_of(config: ProviderConfig) -> str:
    """The model as `three_mode` addresses it. A local model that is no file here is one of Hugging Face."""
    if config.provider != LLMProvider.LOCAL:
        return config.model
    from local_models import files

    if config.model in files.paths() or ":" in config.model:
        return config.model
    here = resolve(config.model).mode is not CommunicationMode.HUMAN_AI
    return config.model if here else f"hf:{config.model}"


def arguments_of(config: ProviderConfig, model: str) -> dict[str, Any]:
    """The arguments of the connection."""
    local = config.provider == LLMProvider.LOCAL
    by_url = config.provider == LLMProvider.CUSTOM and config.api_base is not None
    options: dict[str, Any] = {
        "defaults": RequestDefaults(temperature=config.temperature, max_tokens=config.max_tokens, top_p=config.top_p),
    }
    if local and config.extra_params:
        options["local"] = _load_options(model, config.extra_params)
    return {
        "provider": None if local or by_url else str(config.provider),
        "api_key": None if local else config.api_key,
        "base_url": config.api_base,
        "model": model,
        "mode": CommunicationMode.AI_PC if local else None,  # what is meant for this computer stays on it
        "timeout": config.timeout,
        "max_retries": config.max_retries,
        "policies": Policies(cache=CacheOptions()),
        "options": ConnectionOptions(**options),
    }


def _load_options(model: str, extra: dict[str, Any]) -> Any:
    """How a local model is loaded: `device` decides whether a GPU computes; a GGUF model says so by its layers."""
    from local_models import LoadOptions

    given = dict(extra)
    if not model.startswith("hf:") and given.pop("device", None) == "cpu":
        given["gpu_layers"] = 0
    try:
        return LoadOptions(**given)
    except TypeError as error:
        raise ConfigurationError(
            f"extra_params of a local model: {error}", hint='device="cpu" or "cuda", and fields of LoadOptions'
        ) from None
