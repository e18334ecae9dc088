"""Reads a config file: TOML, JSON, or Python with a literal `LLM_CONFIG`. Python is parsed and never executed.

# three_mode.toml
default_provider = "anthropic"
timeout = 30

[providers.anthropic]
model = "claude-sonnet-4-5"

[policies.retry]
attempts = 5

A file that holds other things too has these settings in a table `llm` or `LLM_CONFIG`. docs/configuration.md has all.
"""

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from three_mode.config.place import Place
from three_mode.config.secrets_in_files import refuse_secrets
from three_mode.config.tables import options_from
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.modes import CommunicationMode, anchored
from three_mode.providers.catalogue import CUSTOM, canonical

NAME = "three_mode.toml"
WRAPPERS = ("LLM_CONFIG", "llm")


class ProviderTable(Struct, frozen=True, kw_only=True):
    """Settings of one provider in a file."""

    api_key: str | None = None  #: for programs that give a table as `config=`; in a file it is refused
    api_key_env: str | None = None  #: environment variable that holds the key, instead of `<PROVIDER>_API_KEY`
    api_key_file: str | None = None  #: file that holds the key alone, relative to the config file
    base_url: str | None = None  #: URL that the API is under
    grpc_url: str | None = None  #: address at which it speaks gRPC too
    model: str | None = None  #: model of requests that name none
    max_tokens: int | None = None  #: most tokens of an answer
    timeout: float | None = None  #: deadline of a call in seconds
    headers: Mapping[str, str] = {}  #: sent with every call
    headers_env: Mapping[str, str] = {}  #: header -> environment variable that holds its value
    defaults: RequestDefaults = RequestDefaults()  #: for requests to this provider


class FileTable(Struct, frozen=True, kw_only=True):
    """Settings of a file."""

    default_provider: str | None = None  #: provider of connections that name none
    default_model: str | None = None  #: model of requests that name none
    default_mode: CommunicationMode = CommunicationMode.AUTO  #: mode of connections that name none
    timeout: float | None = None  #: deadline of a call in seconds
    max_retries: int | None = None  #: most attempts after the first one
    max_tokens: int | None = None  #: most tokens of an answer
    detection_order: tuple[str, ...] | None = None  #: providers to look for, where none is named
    defaults: RequestDefaults = RequestDefaults()  #: for all requests
    providers: Mapping[str, ProviderTable] = {}  #: settings of each provider, by its name
    policies: Mapping[str, Any] = {}  #: policies around every call: the fields of `Policies`
    local: Mapping[str, Any] = {}  #: how local models are loaded: the fields of `LoadOptions`
    local_memory_bytes: int | None = None  #: most bytes of all local models that are loaded at once, in each process
    models: Mapping[str, Mapping[str, Any]] = {}  #: the same for one model; its `path` gives a file a name
    serve: Mapping[str, Any] = {}  #: the endpoint of `three-mode serve`


class ConfigTable:
    """The settings of one file, or of a table that a program gives, with their places."""

    def __init__(self, table: Mapping[str, Any], place: Place, folder: Path | None = None) -> None:
        self.raw = table
        self.place = place
        self.folder = folder
        """Folder that relative paths start from; None: the working directory."""
        self.settings = options_from(FileTable, table, place)
        self._check_numbers()
        self.providers: dict[str, ProviderTable] = {}
        self.names: dict[str, str] = {}
        """Name of a provider -> the name that the file calls it by."""
        for name, each in self.settings.providers.items():
            known = self._provider(name, ("providers", name))
            if known in self.providers:
                raise place.error(("providers", name), f"is {known}, which the file has under another name too")
            self.providers[known], self.names[known] = each, name
        if self.settings.default_provider is not None and "://" not in self.settings.default_provider:
            self._provider(self.settings.default_provider, ("default_provider",))

    def options(self, kind: type[Any], name: str) -> Any:
        """The options of a class from one of the tables."""
        table = self.loading() if name == "local" else getattr(self.settings, name)
        return options_from(kind, table, self.place, (name,))

    def loading(self, name: str | None = None) -> dict[str, Any]:
        """What the file says of loading one model, or all of them. Relative paths of adapters start from its folder."""
        own = {} if name is None else self.settings.models[name]
        table = {setting: value for setting, value in {**self.settings.local, **own}.items() if setting != "path"}
        if isinstance(table.get("lora"), list | tuple):
            table["lora"] = [self._anchored_adapter(each) for each in table["lora"]]
        return table

    def _anchored_adapter(self, adapter: Any) -> Any:
        if isinstance(adapter, Mapping) and isinstance(adapter.get("path"), str):
            return {**adapter, "path": str(self.path_of(adapter["path"]))}
        return adapter

    def model(self, kind: type[Any], name: str) -> tuple[Any, str | None]:
        """How one model is loaded, as an instance of a class: what it says itself, and what `local` says of all; None
        where it says nothing. And the address of the file or folder that has its name."""
        own, path = dict(self.settings.models[name]), ("models", name)
        file = own.pop("path", None)
        if file is not None and not isinstance(file, str):
            raise self.place.error((*path, "path"), "is a path")
        options_from(kind, own, self.place, path)  # for its errors: those of `local` have another place
        options = options_from(kind, self.loading(name), self.place, path) if own else None
        return options, None if file is None else anchored(file, self.folder or Path())

    def path_of(self, text: str) -> Path:
        """A path in this file: `~` is the home, and a relative one starts from the file's folder."""
        path = Path(text).expanduser()
        return path if self.folder is None else self.folder / path

    def _provider(self, name: str, path: tuple[str, ...]) -> str:
        if name == CUSTOM:
            return name
        try:
            return canonical(name)
        except ConfigurationError as error:
            raise self.place.error(path, f"is no provider: {error.message}", error.hint) from None

    def _check_numbers(self) -> None:
        tables: list[tuple[tuple[str, ...], Any]] = [((), self.settings)]
        tables += [(("providers", name), each) for name, each in self.settings.providers.items()]
        checks: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
            ("timeout", "a number of seconds above 0", lambda value: 0 < value < float("inf")),
            ("max_tokens", "a whole number from 1", lambda value: value >= 1),
            ("local_memory_bytes", "a number of bytes above 0", lambda value: value > 0),
            ("max_retries", "a whole number from 0", lambda value: value >= 0),
        )
        for path, table in tables:
            for name, words, fits in checks:
                value = getattr(table, name, None)
                if value is not None and not fits(value):
                    raise self.place.error((*path, name), f"is {words}, not {value!r}")


EMPTY = ConfigTable({}, Place("no config file"))


def read_config(path: Path) -> ConfigTable:
    """Reads a file. What is wrong with it is an error that names the setting, and its line where it has lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the config file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the config file {path} is not right: it is no UTF-8 text") from None
    try:
        table = _parsed(text, path.suffix)
    except (ValueError, SyntaxError, RecursionError) as error:
        raise ConfigurationError(f"the config file {path} is not right: {error}") from None
    wrapper = next((name for name in WRAPPERS if name in table), None)
    found = table if wrapper is None else table[wrapper]
    if not isinstance(found, dict):
        raise ConfigurationError(f"{wrapper} of {path} is a table of settings")
    prefix = () if wrapper is None else (wrapper,)
    place = Place(str(path), text if path.suffix not in (".json", ".py") else "", prefix)
    refuse_secrets(found, place)
    return ConfigTable(found, place, path.parent)


def given_config(table: Mapping[str, Any]) -> ConfigTable:
    """The settings that a program gives itself. They may hold keys, since they are in no file."""
    return ConfigTable(dict(table), Place("config="))


def _parsed(text: str, suffix: str) -> dict[str, Any]:
    if suffix == ".json":
        table = json.loads(text)
    elif suffix == ".py":
        table = _from_python(text)
    else:
        import tomllib

        table = tomllib.loads(text)
    if not isinstance(table, dict):
        raise ValueError("it is not a table")
    return table


def _from_python(text: str) -> dict[str, Any]:
    """Evaluates `LLM_CONFIG = {...}` as a literal; `CommunicationMode.HUMAN_AI` becomes its name."""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "LLM_CONFIG" for target in statement.targets
        ):
            return {"LLM_CONFIG": ast.literal_eval(_ModesAsNames().visit(statement.value))}
    raise ValueError("it assigns no LLM_CONFIG")


class _ModesAsNames(ast.NodeTransformer):
    """Replaces `CommunicationMode.HUMAN_AI` by "human_ai", so that the value is a literal."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "CommunicationMode":
            return ast.copy_location(ast.Constant(node.attr.lower()), node)
        return node
