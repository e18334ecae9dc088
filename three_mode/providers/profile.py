"""A provider as data: where it is, which wire format it speaks, and in what it differs from the others that speak it."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Wire = Literal["openai", "anthropic", "gemini", "ollama", "claude-cli"]
ThinkingSwitch = Literal["effort", "qwen", "deepseek"]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`register(Profile(name="acme", base_url="https://api.acme.test/v1"))` is a whole provider."""

    name: str  #: name of the provider, in lower case
    base_url: str  #: URL that its API is under
    wire: Wire = "openai"  #: wire format that it speaks
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key; `<NAME>_API_KEY` is always tried first."""
    needs_key: bool = True  #: whether calls need a key
    default_model: str | None = None  #: model of requests that name none
    headers: Mapping[str, str] = {}  #: headers that every call carries
    max_tokens_field: str = "max_completion_tokens"  #: name of the field for the most tokens of an answer
    thinking_switch: ThinkingSwitch = "effort"  #: how thinking is asked for
    thinking_field: str | None = None
    """The field of a message in which this provider takes its own thinking back."""
    strict_schemas: bool = True
    """Whether it takes `json_schema` response formats; where not, the schema goes into the prompt."""
    quota_is_rate: bool = False
    """Whether `insufficient_quota` means tokens per minute (Alibaba) rather than an empty account (OpenAI)."""
    token_multipliers: Mapping[str, float] = {}
    """Start of a model's name -> how many tokens are billed for one that is counted."""
    safety: Mapping[str, str] = {}
    """Harm category -> threshold, where the provider takes such settings."""
    takes_safety: bool = False  #: whether it takes safety settings
    unsupported: frozenset[str] = frozenset()
    """Fields of a request that this provider refuses or ignores; asking for one is an error before anything is sent."""
    extra: Mapping[str, Any] = {}
    """Fields that every body to this provider carries, unless the request says otherwise."""

    @property
    def env_name(self) -> str:
        """`claude-cli` -> `CLAUDE_CLI`, as environment variables spell it."""
        return self.name.upper().replace("-", "_").replace(".", "_")

    def multiplier(self, model: str) -> float:
        """How many tokens are billed for one that is counted, for a model."""
        if self.token_multipliers:
            for start, factor in self.token_multipliers.items():
                if model.startswith(start):
                    return factor
        return 1.0
