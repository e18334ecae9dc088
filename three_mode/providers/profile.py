"""Profile: a provider as data. Address, wire format, and its differences from other providers of that format."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Wire = Literal["openai", "anthropic", "gemini", "ollama", "claude-cli"]
ThinkingSwitch = Literal["effort", "qwen", "deepseek"]


class BatchTerms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Terms on which a provider takes batches: many requests at once, answered within a day."""

    price: float = 1.0  #: share of the usual price that a request in a batch costs
    requests: int = 50_000  #: most requests of one batch; a job with more is several batches
    size: int = 200_000_000  #: most bytes of one batch


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. `register(Profile(name="acme", base_url="https://api.acme.test/v1"))` adds one."""

    name: str  #: name of the provider, in lower case
    base_url: str  #: URL of its API
    wire: Wire = "openai"  #: wire format that it speaks
    grpc_url: str | None = None  #: address at which it speaks gRPC too, as grpcs://host:443; None: it does not
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key; `<NAME>_API_KEY` is always tried first."""
    needs_key: bool = True  #: whether calls need a key
    default_model: str | None = None  #: model of requests that name none
    fallback_model: str | None = None
    """Model that answers in place of another provider's, where neither settings nor `default_model` name one."""
    vendor_names: bool = False
    """Whether its models' names may begin with a vendor: `anthropic/claude-opus-4.5` is then the name of a model here,
    rather than a model of another provider."""
    headers: Mapping[str, str] = {}  #: headers that every call carries
    max_tokens_field: str = "max_completion_tokens"  #: name of the field for the most tokens of an answer
    thinking_switch: ThinkingSwitch = "effort"  #: how thinking is asked for
    thinking_field: str | None = None
    """Field of a message in which this provider accepts its own thinking; None: it accepts none."""
    strict_schemas: bool = True
    """Whether it accepts `json_schema` response formats; if not, the schema goes into the prompt."""
    quota_is_rate: bool = False
    """Whether `insufficient_quota` means tokens per minute (Alibaba) rather than an empty account (OpenAI)."""
    token_multipliers: Mapping[str, float] = {}
    """Start of a model's name, in lower case and without the prefix of a vendor -> tokens billed for one counted."""
    safety: Mapping[str, str] = {}
    """Harm category -> threshold, for a provider with such settings."""
    takes_safety: bool = False  #: whether it has safety settings
    unsupported: frozenset[str] = frozenset()
    """Fields of a request that this provider refuses or ignores; a request with one is refused before it is sent."""
    batches: BatchTerms | None = None
    """Terms of its batch endpoints, which are OpenAI's or Anthropic's by its wire format; None: it is not known to have
    any."""
    extra: Mapping[str, Any] = {}
    """Fields of every body to this provider, unless the request sets them."""

    @property
    def env_name(self) -> str:
        """Name in environment variables: `claude-cli` -> `CLAUDE_CLI`."""
        return self.name.upper().replace("-", "_").replace(".", "_")

    def multiplier(self, model: str) -> float:
        """Tokens that are billed for one counted token of a model."""
        if self.token_multipliers:
            name = model.lower().rpartition("/")[2]
            for start, factor in self.token_multipliers.items():
                if name.startswith(start):
                    return factor
        return 1.0
