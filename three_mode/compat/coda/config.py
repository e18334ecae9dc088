"""Configuration of Coda's document. A program may change it while it runs: each call reads it anew, except for what a
provider is made of (`ProviderConfig`), which counts from its first call."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class LLMProvider(StrEnum):
    """Kind of a provider."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"
    LOCAL = "local"
    """A model of this computer: `tiny`, a catalogued name, a GGUF file, or a model of Hugging Face by its name."""
    CUSTOM = "custom"
    """An OpenAI-compatible API at `api_base`, or a class of the program's own."""


@dataclass(kw_only=True)
class ProviderConfig:
    """One provider: its model, account and defaults of requests. None leaves the choice to the provider."""

    provider: LLMProvider | str  #: its kind, or any provider that `three_mode` knows by name
    model: str  #: model that answers
    api_key: str | None = field(default=None, repr=False)  #: None: that of the environment
    api_base: str | None = None  #: address; None: the provider's own
    temperature: float | None = None  #: randomness of the choice of tokens
    max_tokens: int | None = None  #: most tokens of an answer
    top_p: float | None = None  #: share of the probability to choose from
    timeout: float = 120.0  #: seconds of a call
    max_retries: int = 3  #: most attempts after the first one
    #: fields that go to a provider as they are; of a local model `device`, and fields of `LoadOptions`
    extra_params: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class ConversationConfig:
    """How conversations are shown to the model."""

    max_messages: int | None = 50  #: most messages of one request
    max_tokens_per_conversation: int = 8000  #: most tokens of one request
    auto_summarize: bool = True  #: whether the default provider's model summarises what is older
    summarize_threshold: int = 40  #: messages from which it does, of `max_messages`
    memory_integration_enabled: bool = True  #: whether the memory manager is asked
    personality_integration_enabled: bool = True  #: whether the personality is told


@dataclass(kw_only=True)
class FunctionCallingConfig:
    """How tools are called."""

    enabled: bool = True  #: whether the model is shown the tools of the tool manager
    auto_execute: bool = True  #: whether they run; False: the calls are in `response.function_calls`
    max_function_calls_per_turn: int = 5  #: most rounds of calls before an answer
    parallel_execution: bool = True  #: whether calls of one round run side by side
    tool_integration_enabled: bool = True  #: whether the tool manager is asked at all


@dataclass(kw_only=True)
class LLMConfig:
    """Everything that an `LLMManager` is made of."""

    providers: dict[str, ProviderConfig] = field(default_factory=dict)  #: name -> provider
    default_provider: str = ""  #: name of the provider of calls that name none; "": the first one
    conversation: ConversationConfig = field(default_factory=ConversationConfig)  #: conversations
    function_calling: FunctionCallingConfig = field(default_factory=FunctionCallingConfig)  #: tools
    websocket_events_enabled: bool = True  #: whether a `WebSocketLLMManager` tells its events, once it has a server
    stream_responses: bool = True  #: whether it tells chunks of answers that nobody streams, too
    memory_integration_enabled: bool = True  #: as in `conversation`; both must be on
    personality_integration_enabled: bool = True  #: as in `conversation`; both must be on
    tool_integration_enabled: bool = True  #: as in `function_calling`; both must be on
    enable_caching: bool = False  #: whether identical prompts are answered from a cache
    cache_ttl_seconds: float = 3600  #: seconds that a reply is kept
    conversations_path: str = ":memory:"  #: file that keeps the conversations
