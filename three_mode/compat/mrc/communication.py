"""`LLMCommunication`: the main entry of MRC's document."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from three_mode.compat.mrc.configuration import Configuration, ProviderConfig
from three_mode.compat.mrc.errors import ProviderUnavailableException
from three_mode.compat.mrc.manager import ProviderManager
from three_mode.compat.mrc.performance import PerformanceMonitor
from three_mode.compat.mrc.providers import BaseProvider, ConnectedProvider, Messages
from three_mode.compat.mrc.tracking import TrackedCall, Tracker
from three_mode.compat.mrc.values import LLMResponse
from three_mode.errors import ThreeModeError
from three_mode.events import LLMEvent, ProviderSwitch
from three_mode.events.kinds import PROVIDER_SWITCH
from three_mode.modes import CommunicationMode, resolve


class LLMCommunication:
    """Calls to models without an event loop. Where no provider is named, the first available one answers, and the next
    one where it fails.

    `config` are fields of `ProviderConfig`. `tracker` hears of each call.
    """

    def __init__(self, provider: str | None = None, *, tracker: Tracker | None = None, **config: Any) -> None:
        self.manager = ProviderManager(Configuration(provider, **config))
        self.performance = PerformanceMonitor(self.manager.connection.metrics)
        self._llm, self._tracker = self.manager.connection, tracker
        self._any = ConnectedProvider(self._llm, ProviderConfig(""))
        if tracker is not None:
            self._llm.event_hub.listen(self._tell_of_switch, [PROVIDER_SWITCH])

    def generate_text(self, prompt: str, **kwargs: Any) -> str:
        """The text of the answer to one prompt."""
        return self.generate_response([{"role": "user", "content": prompt}], **kwargs).content

    def generate_response(self, messages: Messages, **kwargs: Any) -> LLMResponse:
        """The answer. Keywords are fields of `LLMRequest`, such as `model`, `max_tokens` and `temperature`."""
        call = TrackedCall(self._tracker, self._provider(kwargs), messages)
        with call:
            return call.end(call.provider.generate_response(messages, **call.options(kwargs)))

    def generate_stream(self, messages: Messages, **kwargs: Any) -> Iterator[str]:
        """The answer in pieces, as they come. Closing the iterator ends the call at the provider."""
        call = TrackedCall(self._tracker, self._provider(kwargs), messages)
        with call:
            pieces: Any = call.provider.generate_stream(messages, **call.options(kwargs))
            whole = yield from pieces
            if isinstance(whole, LLMResponse):
                call.end(whole)

    def get_provider_info(self) -> dict[str, Any]:
        """The provider that answers, its model and what that can do, and which others are available."""
        available = self.manager.detect_available_providers()
        info: dict[str, Any] = {"provider": None, "model": self._llm.default_model, "capabilities": None}
        try:
            info |= self.manager.get_active_provider().get_model_info()
        except ProviderUnavailableException:
            pass  # a model of this computer needs none
        return info | {"available_providers": available}

    def switch_provider(self, provider_name: str) -> bool:
        """Makes a provider answer from now on; False, and no change, where it is not available."""
        return self.manager.switch_provider(provider_name)

    def health_check(self) -> dict[str, Any]:
        """Whether the available providers answer, asked for their lists of models, side by side."""
        try:
            found = self._llm.health()
        except ThreeModeError as error:
            return {"status": "unhealthy", "providers": {}, "error": str(error)}
        providers = {
            name: {"available": each.ok, "latency": each.latency, "error": each.error} for name, each in found.items()
        }
        healthy = any(each.ok for each in found.values())
        return {"status": "healthy" if healthy else "unhealthy", "providers": providers}

    def close(self) -> None:
        """Ends what is in progress, and closes the connections."""
        self._llm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Inside

    def _provider(self, options: dict[str, Any]) -> BaseProvider:
        """The provider that somebody chose; else the one that the connection finds, if the model needs one."""
        named = options.pop("provider", None)
        if named is not None:
            return self.manager.get_provider(named)
        model = options.get("model") or self._llm.default_model
        if self.manager.active_provider is None or (model and self._needs_no_provider(model)):
            return self._any
        return self.manager.active_provider

    def _needs_no_provider(self, model: str) -> bool:
        mode = resolve(model, local_names=self._llm.local_models()).mode
        return mode is not CommunicationMode.HUMAN_AI or "://" in model

    def _tell_of_switch(self, event: LLMEvent) -> None:
        if isinstance(event, ProviderSwitch) and self._tracker is not None:
            failed, asked = event.was.partition("/")[0], event.target.partition("/")[0]
            self._tracker.log_provider_switch(failed, asked, event.error)
