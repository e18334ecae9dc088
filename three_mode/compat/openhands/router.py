"""`RouterLLM`: the base of classes that choose a model for each call."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from three_mode.compat.openhands.config import LLMConfig
from three_mode.compat.openhands.llm import LLM, AsyncLLM, Messages, StreamingLLM
from three_mode.compat.openhands.metrics import Metrics
from three_mode.compat.openhands.replies import ModelResponse
from three_mode.errors import ConfigurationError

PRIMARY = "primary"


class RouterLLM(AsyncLLM, ABC):
    """A model for each call, chosen by `_select_llm`.

    `config` is that of the model `primary`, `llms_for_routing` names the others. All count into one `metrics`.
    """

    def __init__(
        self,
        config: LLMConfig,
        service_id: str = "router",
        llms_for_routing: Mapping[str, LLMConfig] | None = None,
        metrics: Metrics | None = None,
        **options: Any,
    ) -> None:
        super().__init__(config, service_id, metrics, **options)
        configs = {PRIMARY: config, **(llms_for_routing or {})}
        self.available_llms: dict[str, StreamingLLM] = {
            name: StreamingLLM(each, f"{service_id}/{name}", self.metrics, **options) for name, each in configs.items()
        }

    @property
    def primary_llm(self) -> LLM:
        """The model `primary`."""
        return self.available_llms[PRIMARY]

    @abstractmethod
    def _select_llm(self, messages: Messages) -> str:
        """The name of the model that answers these messages."""

    def completion(self, messages: Messages, **kwargs: Any) -> ModelResponse:
        """The whole answer of the model that is chosen."""
        return self._chosen(messages).completion(messages, **kwargs)

    async def async_completion(self, messages: Messages, **kwargs: Any) -> ModelResponse:
        """The whole answer of the model that is chosen."""
        return await self._chosen(messages).async_completion(messages, **kwargs)

    def close(self) -> None:
        """Closes all of them."""
        for llm in self.available_llms.values():
            llm.close()

    async def aclose(self) -> None:
        """Closes all of them."""
        for llm in self.available_llms.values():
            await llm.aclose()

    def _chosen(self, messages: Messages) -> StreamingLLM:
        name = self._select_llm(messages)
        found = self.available_llms.get(name)
        if found is None:
            raise ConfigurationError(f"_select_llm chose {name!r}", hint=f"one of {', '.join(self.available_llms)}")
        return found
