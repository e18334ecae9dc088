"""Settings and their sources. For each setting the first source that has it counts:

    1. the arguments of LLMConnection
    2. environment variables                 OPENAI_API_KEY, OPENAI_MODEL, OPENAI_MAX_TOKENS, OPENAI_BASE_URL,
                                             OPENAI_TIMEOUT, LLM_PROVIDER, LLM_TIMEOUT
    3. `.env` in the working directory       the same names
    4. the config file                       config=, or the path in LLM_CONFIG; its LLM_CONFIG table
    5. the defaults of the profile

Nothing is read at import, and the environment is never changed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from three_mode.config.config_file import checked, read_config
from three_mode.config.dotenv import read_dotenv
from three_mode.config.secret import Secret
from three_mode.errors import ConfigurationError
from three_mode.modes import CommunicationMode
from three_mode.providers.profile import Profile

#: Providers to look for, in this order, where none is named.
DETECTION_ORDER = ("anthropic", "openai", "claude-cli")
DEFAULT_TIMEOUT = 120.0


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """The settings of one provider. None leaves the choice to its profile."""

    api_key: Secret | None = None  #: key of the account
    base_url: str | None = None  #: URL that the API is under
    model: str | None = None  #: model of requests that name none
    max_tokens: int | None = None  #: most tokens of an answer, where the request does not say
    timeout: float | None = None  #: deadline of a call in seconds, where the request does not say


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of all providers."""

    provider: str | None = None  #: provider of connections that name none
    model: str | None = None  #: model of requests that name none
    mode: CommunicationMode = CommunicationMode.AUTO  #: mode of connections that name none
    timeout: float = DEFAULT_TIMEOUT  #: deadline of a call in seconds, where neither request nor provider says
    attempts: int | None = None  #: most attempts of a call; None: as `RetryOptions` says
    max_tokens: int | None = None  #: most tokens of an answer, where neither request nor provider says
    detection_order: tuple[str, ...] = DETECTION_ORDER  #: providers to look for, where none is named
    sources: "Sources"  #: where these settings come from

    def of(self, profile: Profile) -> ProviderSettings:
        """The settings of one provider."""
        return self.sources.of(profile)


class Sources:
    """Sources of settings: environment, `.env` and config file, in this order."""

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        dotenv: Path | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._dotenv = read_dotenv(Path(".env") if dotenv is None else dotenv)
        if config is None and self._variable("LLM_CONFIG"):
            config = self._variable("LLM_CONFIG")
        if config is None:
            self.table: Mapping[str, Any] = {}
        elif isinstance(config, Mapping):
            self.table = checked(dict(config), "config=")
        else:
            self.table = read_config(Path(config))

    def _variable(self, name: str) -> str | None:
        return self._environment.get(name) or self._dotenv.get(name) or None

    def settings(self) -> Settings:
        """The settings of all providers. A wrong value is a `ConfigurationError`."""
        table = self.table
        timeout = self._number("LLM_TIMEOUT", table.get("timeout"), "timeout")
        retries = table.get("max_retries")
        if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
            raise ConfigurationError(f"max_retries is a whole number from 0, not {retries!r}")
        try:
            mode = CommunicationMode(str(table.get("default_mode", "auto")).lower())
        except ValueError:
            raise ConfigurationError(
                f"unknown default_mode {table['default_mode']!r}", hint="human_ai, ai_ai, ai_pc or auto"
            ) from None
        return Settings(
            provider=self._variable("LLM_PROVIDER") or table.get("default_provider"),
            model=table.get("default_model"),
            mode=mode,
            timeout=timeout if timeout is not None else DEFAULT_TIMEOUT,
            attempts=None if retries is None else retries + 1,
            max_tokens=_whole(table.get("max_tokens"), "max_tokens"),
            detection_order=tuple(table.get("detection_order", DETECTION_ORDER)),
            sources=self,
        )

    def of(self, profile: Profile) -> ProviderSettings:
        """The settings of one provider. A wrong value is a `ConfigurationError`."""
        name = profile.env_name
        row = self.table.get("providers", {}).get(profile.name, {})
        key = self._variable(f"{name}_API_KEY")
        for other in profile.key_env:
            key = key or self._variable(other)
        key = key or row.get("api_key")
        return ProviderSettings(
            api_key=Secret(key) if key else None,
            base_url=self._variable(f"{name}_BASE_URL") or row.get("base_url"),
            model=self._variable(f"{name}_MODEL") or row.get("model"),
            max_tokens=_whole(self._variable(f"{name}_MAX_TOKENS") or row.get("max_tokens"), f"{name}_MAX_TOKENS"),
            timeout=self._number(f"{name}_TIMEOUT", row.get("timeout"), f"{name}_TIMEOUT"),
        )

    def _number(self, variable: str, fallback: Any, name: str) -> float | None:
        value = self._variable(variable)
        value = fallback if value is None else value
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < float("inf"):
            raise ConfigurationError(f"{name} is a number of seconds above 0, not {value!r}")
        return number


def _whole(value: Any, name: str) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ConfigurationError(f"{name} is a whole number from 1, not {value!r}")
    return number
