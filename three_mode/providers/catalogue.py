"""Catalogue of providers by name, and registration of new ones.

from three_mode.providers import Profile, register
register(Profile(name="acme", base_url="https://api.acme.test/v1"))      # speaks OpenAI's format
LLMConnection(provider="acme", api_key=...)                              # or ACME_API_KEY
"""

from collections.abc import Callable

from three_mode.errors import ConfigurationError
from three_mode.providers.codec import Codec
from three_mode.providers.profile import BatchTerms, Profile

CUSTOM = "custom"
"""Name of the OpenAI-compatible provider that a connection is given by its `base_url=`."""
_PROFILES: dict[str, Profile] = {}
_WIRES: dict[str, Callable[[Profile], Codec]] = {}

_BUILT_IN = (
    Profile(
        name="openai",
        base_url="https://api.openai.com/v1",
        fallback_model="gpt-5",
        batches=BatchTerms(price=0.5, requests=50_000, size=200_000_000),
    ),
    Profile(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        wire="anthropic",
        fallback_model="claude-sonnet-4-5",
        batches=BatchTerms(price=0.5, requests=100_000, size=256_000_000),
    ),
    Profile(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        wire="gemini",
        takes_safety=True,
        key_env=("GOOGLE_API_KEY",),
        fallback_model="gemini-2.5-flash",
    ),
    Profile(name="ollama", base_url="http://127.0.0.1:11434", wire="ollama", needs_key=False, vendor_names=True),
    Profile(
        name="deepseek",
        base_url="https://api.deepseek.com",
        max_tokens_field="max_tokens",
        thinking_switch="deepseek",
        thinking_field="reasoning_content",
        strict_schemas=False,
    ),
    Profile(
        name="qwen",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env=("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        max_tokens_field="max_tokens",
        thinking_switch="qwen",
        quota_is_rate=True,
    ),
    Profile(name="meta", base_url="https://api.llama.com/compat/v1", key_env=("LLAMA_API_KEY",)),
    Profile(name="v98", base_url="https://v98store.com/v1", max_tokens_field="max_tokens", vendor_names=True),
    Profile(
        name="aicoding",
        base_url="https://aicoding.io.vn/v1",
        max_tokens_field="max_tokens",
        vendor_names=True,
        token_multipliers={"claude-opus-4-5": 1.5, "claude-opus-4.5": 1.5},
    ),
    Profile(name="claude-cli", base_url="", wire="claude-cli", needs_key=False, default_model="sonnet"),
)
_ALIASES = {
    "google": "gemini",
    "alibaba": "qwen",
    "llama": "meta",
    "claude_cli": "claude-cli",
    "claude": "anthropic",
}


def register(profile: Profile, codec: Callable[[Profile], Codec] | None = None) -> None:
    """Adds a provider to the catalogue. `codec` is needed only for a new wire format."""
    if not profile.name or profile.name != profile.name.strip().lower():
        raise ConfigurationError(f"a provider's name is in lower case, not {profile.name!r}")
    _PROFILES[profile.name] = profile
    if codec is not None:
        _WIRES[profile.name] = codec


def profile_of(name: str) -> Profile:
    """Profile of a provider, by its name or an alias. An unknown name is a `ConfigurationError`."""
    return _PROFILES[canonical(name)]


def canonical(name: str) -> str:
    """The one name of a provider that has several. An unknown name is a `ConfigurationError`."""
    known = _ALIASES.get(name, name)
    if known not in _PROFILES:
        from difflib import get_close_matches  # for errors alone

        close = get_close_matches(name, (*_PROFILES, *_ALIASES), 1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ConfigurationError(
            f"unknown provider {name!r}",
            hint=f"{meant}one of {', '.join(_PROFILES)}; or give base_url= of an OpenAI-compatible API",
        )
    return known


def find_provider(name: str) -> str | None:
    """The one name of a provider that may have several; None for an unknown name."""
    known = _ALIASES.get(name, name)
    return known if known in _PROFILES else None


def providers() -> tuple[str, ...]:
    """Names of all providers of the catalogue."""
    return tuple(_PROFILES)


def codec_of(profile: Profile) -> Codec:
    """Codec of a profile's wire format; each codec is imported when first used."""
    registered = _WIRES.get(profile.name)
    if registered is not None:
        return registered(profile)
    if profile.wire == "anthropic":
        from three_mode.providers.anthropic import AnthropicCodec

        return AnthropicCodec(profile)
    if profile.wire == "gemini":
        from three_mode.providers.gemini import GeminiCodec

        return GeminiCodec(profile)
    if profile.wire == "ollama":
        from three_mode.providers.ollama import OllamaCodec

        return OllamaCodec(profile)
    if profile.wire == "openai":
        from three_mode.providers.openai import OpenAICodec

        return OpenAICodec(profile)
    raise ConfigurationError(f"{profile.name} is reached by a process, not by HTTP")


for _profile in _BUILT_IN:
    register(_profile)
