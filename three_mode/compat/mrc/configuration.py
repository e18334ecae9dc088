"""Configuration of MRC's document: constants, and what the environment says of each provider.

The environment, `.env` and the config file are read by `three_mode.config`.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from three_mode.config import DETECTION_ORDER, Sources
from three_mode.connection import Account
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.providers import profile_of

_VARIABLES = ("api_key", "model", "max_tokens")


@dataclass
class ProviderConfig:
    """Settings of one provider. A key is never shown."""

    name: str
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    max_tokens: int = 4096
    temperature: float = 0.7
    timeout: float = 60
    base_url: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, provider_name: str) -> "ProviderConfig":
        """What the environment says: ANTHROPIC_API_KEY, ANTHROPIC_MODEL, ANTHROPIC_MAX_TOKENS, LLM_TIMEOUT and so
        on."""
        sources = Sources()
        found = sources.settings().of(profile_of(provider_name))
        said = {
            "api_key": found.api_key.reveal() if found.api_key else None,
            "model": found.model,
            "max_tokens": found.max_tokens,
            "timeout": found.timeout or _timeout(sources),
            "base_url": found.base_url,
            "headers": dict(found.headers),
        }
        return cls(name=provider_name, **{name: value for name, value in said.items() if value})  # type: ignore[arg-type]

    def account(self) -> Account:
        """The same for a connection of `three_mode`."""
        return Account(
            api_key=self.api_key,
            base_url=self.base_url,
            headers=self.headers,
            defaults=RequestDefaults(max_tokens=self.max_tokens, temperature=self.temperature),
        )


def _timeout(sources: Sources) -> float | None:
    """Seconds of a call that the environment or a config file says for all providers."""
    found = sources.find(("timeout",), sources.table.settings.timeout, None, "LLM_TIMEOUT").value
    return None if found is None else float(found)


class Configuration:
    """Order and settings of the providers.

    `Configuration("openai", model="gpt-4")` changes what the environment says of that provider, and `timeout=` alone
    that of all.
    """

    PROVIDER_PRIORITY: ClassVar[list[str]] = list(DETECTION_ORDER)
    DEFAULT_TIMEOUT: ClassVar[int] = 60
    RETRY_TIMEOUT: ClassVar[int] = 120
    MAX_RETRIES: ClassVar[int] = 3
    RETRY_BACKOFF_FACTOR: ClassVar[int] = 2
    ENV_MAPPINGS: ClassVar[dict[str, dict[str, str]]] = {
        name: {field_: f"{name.upper()}_{field_.upper()}" for field_ in _VARIABLES} for name in ("anthropic", "openai")
    }

    def __init__(self, provider: str | None = None, **settings: Any) -> None:
        known = {each.name for each in fields(ProviderConfig)} - {"name"}
        unknown = sorted(settings.keys() - known)
        if unknown:
            raise ConfigurationError(f"unknown setting {unknown[0]!r}", hint=f"one of {', '.join(sorted(known))}")
        if provider is None and settings.keys() & {"api_key", "base_url", "headers"}:
            raise ConfigurationError("a key, address or headers without provider=", hint="say whose they are")
        self.provider = provider
        self._settings = settings

    def order(self) -> list[str]:
        """The providers to look for; the one that was named comes first."""
        if self.provider is None or self.provider in self.PROVIDER_PRIORITY:
            return list(self.PROVIDER_PRIORITY)
        return [self.provider, *self.PROVIDER_PRIORITY]

    def of(self, provider: str) -> ProviderConfig:
        """The settings of one provider."""
        found = ProviderConfig.from_env(provider)
        if self.provider in (None, provider):
            mine = {name: value for name, value in self._settings.items() if name != "model" or self.provider}
            return replace(found, **mine)
        return found

    @property
    def model(self) -> str | None:
        """The model of requests that name none, where it is no provider's: `tiny`, `gguf:PATH`, `agent:NAME`."""
        model: str | None = None if self.provider else self._settings.get("model")
        return model

    @property
    def defaults(self) -> RequestDefaults:
        """What the program says of requests to any provider, and to models of this computer."""
        said = () if self.provider else self._settings.keys() & {"max_tokens", "temperature"}
        return RequestDefaults(**{name: self._settings[name] for name in said})

    @property
    def timeout(self) -> float | None:
        """Seconds of a call; None: as the environment or a config file says."""
        given: float | None = self._settings.get("timeout")
        if given is not None:
            return float(given)
        return None if _timeout(Sources()) is not None else float(self.DEFAULT_TIMEOUT)
