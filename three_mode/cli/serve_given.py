"""What `three-mode serve` was given: its command line and the config file, read and checked before anything starts."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from three_mode.channels.grpc_options import SCHEMES as GRPC_SCHEMES
from three_mode.config import ConfigTable, Sources
from three_mode.errors import ConfigurationError
from three_mode.modes import names_files
from three_mode.policies import Policies
from three_mode.serve import ServeOptions, Tls
from three_mode.serve.server import tls_context
from three_mode.serve.settings import ServeTable, named_models

if TYPE_CHECKING:
    from three_mode.connection import LLMConnection

_FILES = ("certificate", "key", "api_key_file")
# Options that the table has under the same names.
_SAME = (
    "host",
    "port",
    "workers",
    "grpc",
    "bus",
    "a2a",
    "most_at_once",
    "talks",
    "any_local_model",
    "mcp_models",
    "access_log",
    "behind_proxy",
)
KEYS = "THREE_MODE_API_KEYS"
DEFAULTS = ServeOptions()


def _table(options: argparse.Namespace, config: ConfigTable) -> ServeTable:
    """What the config file says, and before it the command line."""
    table: ServeTable = config.options(ServeTable, "serve")
    paths = {
        name: config.path_of(str(path)) for name in (*_FILES, "talks") if (path := getattr(table, name)) is not None
    }
    given = {
        "models": None if options.model is None else tuple(options.model),
        "origins": None if options.origin is None else tuple(options.origin),
        **{name: getattr(options, name) for name in (*_SAME, *_FILES)},
    }
    said = {name: value for name, value in given.items() if value is not None}
    if "api_key_file" not in said and os.environ.get(table.api_keys_env or KEYS):
        paths.pop("api_key_file", None)  # the environment comes before the file
        said["api_key_file"] = None
    return replace(table, **(paths | said))


def _settings(options: argparse.Namespace, table: ServeTable, only: frozenset[str] | None) -> ServeOptions:
    certificate, key = table.certificate, table.key
    if (certificate is None) != (key is None):
        raise ConfigurationError("--certificate and --key go together")
    for path in (certificate, key, table.api_key_file):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"no such file: {path}")
    tls = Tls(certificate, key) if certificate is not None and key is not None else None
    if tls is not None:
        tls_context(tls)  # for its errors, before anything is started
    if options.base_url is not None and not options.base_url.startswith(("http://", "https://", *GRPC_SCHEMES)):
        raise ConfigurationError(
            f"--base-url is a URL such as http://localhost:11434/v1 or grpc://localhost:50051, not {options.base_url!r}"
        )
    return ServeOptions(
        host=table.host or DEFAULTS.host,
        port=DEFAULTS.port if table.port is None else table.port,
        grpc=table.grpc,
        tls=tls,
        api_keys=_keys(table.api_key_file, table.api_keys_env or KEYS),
        max_in_flight=DEFAULTS.max_in_flight if table.most_at_once is None else table.most_at_once,
        mcp_models=table.mcp_models,
        a2a_default=table.a2a,
        allowed_origins=frozenset(table.origins),
        only_models=only,
        any_local_model=table.any_local_model,
        access_log=table.access_log,
        behind_proxy=table.behind_proxy,
        **table.limits(),
    )


def _only(models: Mapping[str, str], config: ConfigTable) -> frozenset[str] | None:
    """What clients may name: the models that are named, and those of the config file. None where none is: whatever the
    catalogue, the bus and the provider have."""
    if not models:
        return None
    file = config.settings
    routes: Policies = config.options(Policies, "policies")
    default = [] if file.default_model is None else [file.default_model]
    return frozenset((*models, *file.models, *(route.name for route in routes.routes), *default))


def _keys(path: Path | None, variable: str) -> frozenset[str]:
    """Reads keys from a file or the environment. On the command line, the list of processes would show them."""
    text = path.read_text() if path is not None else os.environ.get(variable, "").replace(",", "\n")
    keys = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if path is not None and not keys:  # an empty file must not open the endpoint
        raise ConfigurationError(f"no key is in {path}", hint="one a line")
    if variable != KEYS and not keys:
        raise ConfigurationError(f"serve.api_keys_env names {variable}, which holds no key", hint=f"set {variable}")
    return keys


class Given(NamedTuple):
    """What the command line and the config file say, checked."""

    options: argparse.Namespace
    config: Sources
    table: ServeTable
    models: dict[str, str]
    """Name that clients use -> address."""
    settings: ServeOptions


def given_of(options: argparse.Namespace) -> Given:
    """Reads what was given; ConfigurationError where it cannot be."""
    config = Sources(options.config)
    table = _table(options, config.table)
    models = named_models(table.models)
    return Given(options, config, table, models, _settings(options, table, _only(models, config.table)))


def is_local(connection: "LLMConnection", address: str) -> bool:
    """Whether an address is that of a model of this computer. Opens nothing."""
    return names_files(address) or address in connection.local_models()
