"""Settings and their sources. For each setting the first source that has it counts:

    1. the arguments of LLMConnection
    2. environment variables                 OPENAI_API_KEY, OPENAI_MODEL, OPENAI_MAX_TOKENS, OPENAI_BASE_URL,
                                             OPENAI_TIMEOUT, LLM_PROVIDER, LLM_TIMEOUT
    3. `.env` in the working directory       the same names
    4. the config file                       the first of: config=, the path in LLM_CONFIG, `three_mode.toml` in the
                                             working directory, `three-mode/config.toml` in the user's config folder
    5. the defaults of the profile

Nothing is read at import, and the environment is never changed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from three_mode.config.config_file import EMPTY, NAME, ProviderTable, given_config, read_config
from three_mode.config.dotenv import read_dotenv
from three_mode.config.secret import Secret
from three_mode.errors import ConfigurationError
from three_mode.messages.request_defaults import NOTHING, RequestDefaults
from three_mode.modes import CommunicationMode
from three_mode.providers.profile import Profile

#: Providers to look for, in this order, where none is named.
DETECTION_ORDER = ("anthropic", "openai", "claude-cli")
DEFAULT_TIMEOUT = 120.0
_NO_TABLE = ProviderTable()


class Found(NamedTuple):
    """Value of a setting, and the source that it comes from."""

    value: Any
    source: str


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """The settings of one provider. None leaves the choice to its profile."""

    api_key: Secret | None = None  #: key of the account
    base_url: str | None = None  #: URL that the API is under
    grpc_url: str | None = None  #: address at which it speaks gRPC too
    model: str | None = None  #: model of requests that name none
    max_tokens: int | None = None  #: most tokens of an answer, where the request does not say
    timeout: float | None = None  #: deadline of a call in seconds, where the request does not say
    headers: Mapping[str, str] = {}  #: sent with every call
    defaults: RequestDefaults = NOTHING  #: for requests to it
    key_variable: str = ""  #: environment variable that is to hold the key

    def __repr__(self) -> str:  # headers may hold a key
        return f"ProviderSettings({self.base_url or ''}, {self.model or 'no model'}, {len(self.headers)} headers)"


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of all providers."""

    provider: str | None = None  #: provider of connections that name none
    model: str | None = None  #: model of requests that name none
    mode: CommunicationMode = CommunicationMode.AUTO  #: mode of connections that name none
    timeout: float = DEFAULT_TIMEOUT  #: deadline of a call in seconds, where neither request nor provider says
    attempts: int | None = None  #: most attempts of a call; None: as `RetryOptions` says
    max_tokens: int | None = None  #: most tokens of an answer, where neither request nor provider says
    detection_order: tuple[str, ...] = DETECTION_ORDER  #: providers to look for, where none is named
    defaults: RequestDefaults = NOTHING  #: for all requests
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
        if config is None:
            config = self._file()
        self.file = None if config is None or isinstance(config, Mapping) else str(config)
        """The config file; None where there is none."""
        if config is None:
            self.table = EMPTY
        elif isinstance(config, Mapping):
            self.table = given_config(config)
        else:
            self.table = read_config(Path(config))

    def _file(self) -> Path | None:
        """The config file that nobody named in a program; None where there is none."""
        named = self._variable("LLM_CONFIG")
        if named is not None:
            return Path(named).expanduser()
        return next((path for path in self.searched() if path.is_file()), None)

    def searched(self) -> tuple[Path, ...]:
        """The files that are looked for where none is named, in this order."""
        folder = self._environment.get("XDG_CONFIG_HOME")
        home = self._environment.get("HOME")
        if not folder and not home:
            return (Path(NAME),)
        return Path(NAME), (Path(folder) if folder else Path(str(home)) / ".config") / "three-mode" / "config.toml"

    def _variable(self, name: str) -> str | None:
        return self._environment.get(name) or self._dotenv.get(name) or None

    def _from(self, name: str) -> str:
        """The source of a variable that is set."""
        return f"environment {name}" if self._environment.get(name) else f".env {name}"

    def find(self, path: tuple[str, ...], value: Any, default: Any, *variables: str) -> Found:
        """A setting by its variables, else as the file says, else by default."""
        for name in variables:
            found = self._variable(name)
            if found is not None:
                return Found(found, self._from(name))
        if value is not None:
            return Found(value, self.table.place.of(path))
        return Found(default, "default")

    def settings(self) -> Settings:
        """The settings of all providers. A wrong value is a `ConfigurationError`."""
        file = self.table.settings
        timeout = self.find(("timeout",), file.timeout, DEFAULT_TIMEOUT, "LLM_TIMEOUT")
        return Settings(
            provider=self.find(("default_provider",), file.default_provider, None, "LLM_PROVIDER").value,
            model=file.default_model,
            mode=file.default_mode,
            timeout=_seconds(timeout, "timeout"),
            attempts=None if file.max_retries is None else file.max_retries + 1,
            max_tokens=file.max_tokens,
            detection_order=DETECTION_ORDER if file.detection_order is None else file.detection_order,
            defaults=file.defaults,
            sources=self,
        )

    def of(self, profile: Profile) -> ProviderSettings:
        """The settings of one provider. A wrong value is a `ConfigurationError`."""
        name, row = profile.env_name, self.table.providers.get(profile.name, _NO_TABLE)
        most, timeout = self.found_of(profile, "max_tokens"), self.found_of(profile, "timeout")
        key = self.key_of(profile).value
        return ProviderSettings(
            api_key=Secret(key) if key else None,
            base_url=self.found_of(profile, "base_url").value,
            grpc_url=self.found_of(profile, "grpc_url").value,
            model=self.found_of(profile, "model").value,
            max_tokens=_whole(most, f"{name}_MAX_TOKENS"),
            timeout=_seconds(timeout, f"{name}_TIMEOUT"),
            headers={**row.headers, **self._headers(profile.name, row)},
            defaults=row.defaults,
            key_variable=row.api_key_env or f"{name}_API_KEY",
        )

    def found_of(self, profile: Profile, setting: str) -> Found:
        """`base_url`, `grpc_url`, `model`, `max_tokens` or `timeout` of one provider, with its source."""
        row = self.table.providers.get(profile.name, _NO_TABLE)
        value = getattr(row, setting)
        return self.find(self._path(profile, setting), value, None, f"{profile.env_name}_{setting.upper()}")

    def key_of(self, profile: Profile) -> Found:
        """The key of one provider, with its source."""
        row = self.table.providers.get(profile.name, _NO_TABLE)
        if row.api_key_env is not None:  # it says where the key is, and another one would be a surprise
            return self.find((), None, None, row.api_key_env)
        found = self.find(
            self._path(profile, "api_key"), row.api_key, None, f"{profile.env_name}_API_KEY", *profile.key_env
        )
        if found.value is None and row.api_key_file is not None:
            path = self.table.path_of(row.api_key_file)
            return Found(self._key_in(path, self._path(profile, "api_key_file")), f"file {path}")
        return found

    def _key_in(self, path: Path, setting: tuple[str, ...]) -> str:
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is no text"
            raise self.table.place.error(setting, f"cannot be read: {path}: {problem}") from None
        if not key or len(key.split()) != 1:
            raise self.table.place.error(setting, f"names {path}, which does not hold one key and nothing else")
        return key

    def _headers(self, provider: str, row: ProviderTable) -> dict[str, str]:
        found = {}
        for header, variable in row.headers_env.items():
            value = self._variable(variable)
            if value is None:
                path = ("providers", self.table.names[provider], "headers_env", header)
                raise self.table.place.error(path, f"names {variable}, which is not set", f"set {variable}")
            found[header] = value
        return found

    def _path(self, profile: Profile, setting: str) -> tuple[str, ...]:
        return "providers", self.table.names.get(profile.name, profile.name), setting


def _seconds(found: Found, name: str) -> Any:
    """The seconds of a setting; a variable holds text."""
    if found.value is None:
        return None
    try:
        number = float(found.value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} is a number of seconds above 0, not {found.value!r}")
    return number


def _whole(found: Found, name: str) -> int | None:
    if found.value is None:
        return None
    try:
        number = int(found.value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ConfigurationError(f"{name} is a whole number from 1, not {found.value!r}")
    return number
