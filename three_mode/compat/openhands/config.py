"""Settings of one model as OpenHands' document has them, and what they are for a connection of `three_mode`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from three_mode.connection import ConnectionOptions
from three_mode.messages import RequestDefaults
from three_mode.policies import Policies, RetryOptions
from three_mode.providers.catalogue import find_provider

# How a model's name begins -> its provider, where nothing else names one.
_FAMILIES = {"claude": "anthropic", "gemini": "gemini"}


@dataclass(kw_only=True)
class LLMConfig:
    """Settings of one model. None leaves the choice to the provider."""

    model: str  #: a model, `PROVIDER/MODEL`, `agent:NAME`, `tiny` or `gguf:PATH`
    api_key: str | None = field(default=None, repr=False)  #: None: that of the environment
    base_url: str | None = None  #: address of an OpenAI-compatible API, or of the provider's own
    custom_llm_provider: str | None = None  #: provider, where the name of the model does not say
    temperature: float | None = None  #: randomness of the choice of tokens
    top_p: float | None = None  #: share of the probability to choose from
    seed: int | None = None  #: seed of the choice of tokens
    max_output_tokens: int | None = None  #: most tokens of an answer
    reasoning_effort: str | None = None  #: how much the model may think
    native_tool_calling: bool | None = None  #: False describes tools in the prompt, and reads calls from the text
    caching_prompt: bool = True  #: marks the system message for the provider's cache of prompts
    timeout: float | None = None  #: seconds of a call
    num_retries: int = 5  #: most attempts after the first one
    retry_multiplier: float = 8.0  #: growth of the wait from attempt to attempt
    retry_min_wait: float = 8.0  #: seconds of the first wait
    retry_max_wait: float = 64.0  #: most seconds of a wait
    safety_settings: Mapping[str, str] = field(default_factory=dict)  #: harm category -> threshold

    @property
    def provider(self) -> str | None:
        """The provider: named, or known by the model's name; None where an address says it all."""
        if self.custom_llm_provider is not None:
            return self.custom_llm_provider
        prefix = find_provider(self.model.partition("/")[0]) if "/" in self.model else None
        if prefix is not None:
            return prefix
        if self.base_url is not None:
            return None
        return next((name for start, name in _FAMILIES.items() if self.model.startswith(start)), "openai")

    def connection(self) -> dict[str, Any]:
        """The arguments of `LLMConnection`."""
        provider, model = self.provider, self.model
        prefix, _, rest = model.partition("/")
        if rest and provider is not None and find_provider(prefix) == find_provider(provider):
            model = rest
        return {
            "provider": provider,
            "api_key": self.api_key,
            "base_url": self.base_url,
            "model": model,
            "timeout": self.timeout,
            "policies": Policies(
                retry=RetryOptions(
                    attempts=self.num_retries + 1,
                    first=self.retry_min_wait,
                    factor=self.retry_multiplier,
                    most=self.retry_max_wait,
                )
            ),
            "options": ConnectionOptions(safety=self.safety_settings, defaults=self._defaults()),
        }

    def _defaults(self) -> RequestDefaults:
        return RequestDefaults(
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            max_tokens=self.max_output_tokens,
            reasoning=self.reasoning_effort,
        )
