"""Rows of `three-mode config check`: each setting in force, its value, and its source. Secrets are never values."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from local_models import LoadOptions
from three_mode.calls.options import with_retries
from three_mode.config import ConfigTable, Sources
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.policies import Policies
from three_mode.providers import Profile, profile_of, providers
from three_mode.providers.catalogue import CUSTOM
from three_mode.serve import ServeOptions
from three_mode.serve.settings import ServeTable, named_models

Path = tuple[str, ...]
SECRET = "(set)"  # noqa: S105  # what is shown of a secret


class SettingRow(NamedTuple):
    """One setting in force."""

    name: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        """The value for people."""
        if self.value is None:
            return "" if self.source == "default" else "off"
        return ", ".join(map(str, self.value)) if isinstance(self.value, list) else str(self.value)


def rows(sources: Sources) -> list[SettingRow]:
    """All settings in force. What is wrong in any of them is a `ConfigurationError`."""
    return [*_general(sources), *_providers(sources), *_tables(sources)]


def _general(sources: Sources) -> Iterator[SettingRow]:
    settings, file = sources.settings(), sources.table.settings
    variables = {"default_provider": ("LLM_PROVIDER",), "timeout": ("LLM_TIMEOUT",)}
    in_force = {
        "default_provider": settings.provider,
        "default_model": settings.model,
        "default_mode": str(settings.mode),
        "timeout": settings.timeout,
        "max_retries": None if settings.attempts is None else settings.attempts - 1,
        "max_tokens": settings.max_tokens,
        "detection_order": list(settings.detection_order),
    }
    for name, value in in_force.items():
        said = getattr(file, name) if name in sources.table.raw else None
        yield SettingRow(name, value, sources.find((name,), said, value, *variables.get(name, ())).source)
    yield from _defaults(sources.table, settings.defaults, ("defaults",))


def _defaults(table: ConfigTable, defaults: RequestDefaults, path: Path) -> Iterator[SettingRow]:
    for name, value in _flat(RequestDefaults(**defaults.said())):
        if value not in (None, []):
            yield SettingRow(".".join((*path, *name)), value, table.place.of((*path, *name)))


def _providers(sources: Sources) -> Iterator[SettingRow]:
    """What is set of each provider; what is not is as its profile says."""
    for name in (*providers(), CUSTOM):
        profile = Profile(name=CUSTOM, base_url="", needs_key=False) if name == CUSTOM else profile_of(name)
        sources.of(profile)  # for its errors
        key = sources.key_of(profile)
        if key.value:
            yield SettingRow(f"providers.{name}.api_key", SECRET, key.source)
        for setting in ("base_url", "grpc_url", "model", "max_tokens", "timeout"):
            found = sources.found_of(profile, setting)
            if found.value is not None:
                yield SettingRow(f"providers.{name}.{setting}", found.value, found.source)
        table = sources.table.providers.get(name)
        if table is not None:
            path = ("providers", sources.table.names[name])
            for header, value in table.headers.items():
                yield SettingRow(
                    f"providers.{name}.headers.{header}", value, sources.table.place.of((*path, "headers", header))
                )
            for header, variable in table.headers_env.items():
                yield SettingRow(f"providers.{name}.headers.{header}", SECRET, f"environment {variable}")
            yield from _defaults(sources.table, table.defaults, (*path, "defaults"))


def _tables(sources: Sources) -> Iterator[SettingRow]:
    table, settings = sources.table, sources.settings()
    policies = with_retries(table.options(Policies, "policies"), None, settings.attempts)
    for path, value in _flat(policies):
        whole = ("policies", *path)
        if whole == ("policies", "retry", "attempts") and settings.attempts == value:
            yield SettingRow(".".join(whole), value, _source(table, ("max_retries",)))
        else:
            yield SettingRow(".".join(whole), value, _source(table, whole))
    for path, value in _flat(table.options(LoadOptions, "local")):
        yield SettingRow(".".join(("local", *path)), value, _source(table, ("local", *path)))
    for name, own in table.settings.models.items():
        table.model(LoadOptions, name)  # for its errors
        for setting, value in own.items():
            yield SettingRow(f"models.{name}.{setting}", value, _source(table, ("models", name, setting)))
    yield from _serve(table)


def _serve(table: ConfigTable) -> Iterator[SettingRow]:
    endpoint, defaults = table.options(ServeTable, "serve"), ServeOptions()
    try:
        named_models(endpoint.models)
    except ConfigurationError as error:
        raise table.place.error(("serve", "models"), f"is not right: {error.message}", error.hint) from None
    for path, value in _flat(endpoint):
        (name,) = path
        default = defaults.max_in_flight if name == "most_at_once" else getattr(defaults, name, None)
        shown = default if value in (None, []) and name not in table.settings.serve else value
        if isinstance(shown, str | int | float | list):
            yield SettingRow(f"serve.{name}", shown, _source(table, ("serve", name)))


def _source(table: ConfigTable, path: Path) -> str:
    """The place of a setting, if the file has it."""
    found: Any = table.raw
    for name in path:
        if isinstance(found, list) and name.isdigit():
            found = dict(enumerate(found)).get(int(name))
        elif isinstance(found, Mapping) and name in found:
            found = found[name]
        else:
            return table.place.of(path) if found is False else "default"
    return table.place.of(path)


def _flat(options: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each option within options, by its path."""
    if isinstance(options, Struct):
        for name in options.__struct_fields__:
            yield from _flat(getattr(options, name), (*path, name))
    elif isinstance(options, tuple) and any(isinstance(each, Struct) for each in options):
        for number, each in enumerate(options):
            yield from _flat(each, (*path, str(number)))
    elif isinstance(options, bool | int | float | str) or options is None:
        yield path, options
    else:
        yield path, [str(each) for each in options] if isinstance(options, tuple) else str(options)
