"""How options of a connection reach host processes: the orchestrator writes JSON, which the first use of `llm` reads.

They go over the private socket that a host is started with, since accounts hold keys. `Session.llm` and `HostedModel`
read them; agents, which stand below connections, keep them as text.
"""

import json
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from three_mode.agents.model import ModelSource
from three_mode.calls.provider_accounts import Account
from three_mode.config import Place, Sources, options_from
from three_mode.connection import ConnectionOptions, LLMConnection, Observing
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.modes import anchored
from three_mode.policies import Policies

if TYPE_CHECKING:
    from local_models import LoadOptions

LONGEST = 64 * 1024  # bytes, which the socket of a new host holds
_PLACE = Place("the options of this host")
_HINT = "leave it out, and make an LLMConnection of your own with it where it is needed"


def written(options: ConnectionOptions | None, policies: Policies | None) -> str:
    """The options as text; "" where there are none. What cannot travel, or could not work there, is an error."""
    if options is None and policies is None:
        return ""
    for value, kind in ((options, ConnectionOptions), (policies, Policies)):
        if value is not None and not isinstance(value, kind):
            what = "llm" if kind is ConnectionOptions else "policies"
            raise ConfigurationError(f"{what}= is {kind.__name__}(...), not {type(value).__name__}")
    table: dict[str, Any] = {}
    if options is not None:
        LLMConnection(options=options)  # for its errors: it opens nothing
        table["options"] = _plain_options(options)
    if policies is not None:
        table["policies"] = {
            name: _plain(getattr(policies, name), f"policies.{name}") for name in Policies.__struct_fields__
        }
    text = json.dumps(table)
    if len(text) > LONGEST:
        raise ConfigurationError(f"llm= and policies= take {len(text)} bytes as text; at most {LONGEST} travel")
    return text


def read(text: str) -> tuple[ConnectionOptions, Policies | None]:
    """The options of a text that `written` made."""
    table: dict[str, Any] = json.loads(text) if text else {}
    policies = table.get("policies")
    return (
        _read_options(table.get("options", {})),
        None if policies is None else options_from(Policies, policies, _PLACE, ("policies",)),
    )


def written_model(policies: Policies | None, load: "LoadOptions | None") -> str:
    """The options of one model as text. They hold no key, and so they may go over the bus."""
    from local_models import LoadOptions

    if load is not None and not isinstance(load, LoadOptions):
        raise ConfigurationError(f"load= is LoadOptions(...), not {type(load).__name__}")
    return written(ConnectionOptions(local=load), policies)


def read_model(source: ModelSource, host_options: str) -> tuple[ConnectionOptions, Policies | None]:
    """The options of a model: its own, and those of its host where it has none."""
    options, policies = read(host_options)
    own, own_policies = read(source.options)
    if own.local is not None:
        options = replace(options, models={**options.models, source.model: own.local})
    return options, policies if own_policies is None else own_policies


def connect(text: str, bus: Any, tracer: Any = None) -> LLMConnection:
    """The connection of a process, with these options."""
    options, policies = read(text)
    return LLMConnection(options=options, policies=policies, observe=observed_by(tracer), bus=bus)


def observed_by(tracer: Any) -> Observing | None:
    """What the tracer of a process sees of its connections; None: nothing."""
    given = getattr(tracer, "connection_options", None)
    return None if given is None else Observing(**given())


def _plain_options(options: ConnectionOptions) -> dict[str, Any]:
    defaults, plain = ConnectionOptions(), {}
    for name in ConnectionOptions.__struct_fields__:
        value = getattr(options, name)
        if value == getattr(defaults, name):
            continue
        if name in ("clock", "prices"):
            raise ConfigurationError(f"llm.{name} cannot travel to host processes", hint=_HINT)
        plain[name] = _plain(value, f"llm.{name}")
    if isinstance(options.config, str | Path):  # hosts start in this folder, and may leave it
        plain["config"] = str(Path(options.config).expanduser().absolute())
    for load in (plain.get("local"), *plain.get("models", {}).values()):
        for adapter in (load or {}).get("lora", ()):
            adapter["path"] = str(Path(adapter["path"]).expanduser().absolute())
    plain["files"] = {name: anchored(path, Path.cwd()) for name, path in options.files.items()}
    if options.headers:
        # They are for this connection's own provider. A model of another one must not get them.
        named = Sources(options.config).settings().provider
        accounts = plain.setdefault("accounts", {})
        own = accounts.setdefault(named, {})
        own["headers"] = {**own.get("headers", {}), **plain.pop("headers")}
    return plain


def _plain(value: Any, where: str) -> Any:
    """A value that JSON can hold; fields of dataclasses that have their default are left out."""
    if is_dataclass(value) and not isinstance(value, type | msgspec.Struct):  # Account, PoolOptions, Limits
        default = type(value)()
        said = (field.name for field in dataclass_fields(value))
        return {
            name: _plain(getattr(value, name), f"{where}.{name}")
            for name in said
            if getattr(value, name) != getattr(default, name)
        }
    if isinstance(value, Mapping):
        return {str(name): _plain(each, f"{where}.{name}") for name, each in value.items()}
    try:
        return msgspec.to_builtins(value, enc_hook=_plain_path, str_keys=True)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{where} cannot travel to host processes: {error}", hint=_HINT) from None


def _plain_path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no data")


def _read_options(table: Mapping[str, Any]) -> ConnectionOptions:
    """The annotations of `ConnectionOptions` name types that it does not import: so each field is read here."""
    given = dict(table)
    if "accounts" in given:
        given["accounts"] = {
            name: options_from(Account, account, _PLACE, ("accounts", name))
            for name, account in given["accounts"].items()
        }
    if "defaults" in given:
        given["defaults"] = options_from(RequestDefaults, given["defaults"], _PLACE, ("defaults",))
    if "detection_order" in given:
        given["detection_order"] = tuple(given["detection_order"])
    if "transport" in given:
        from transports.http2 import PoolOptions

        given["transport"] = options_from(PoolOptions, given["transport"], _PLACE, ("transport",))
    if given.get("local") is not None or given.get("models"):
        from local_models import LoadOptions

        if given.get("local") is not None:
            given["local"] = options_from(LoadOptions, given["local"], _PLACE, ("local",))
        models = given.get("models", {}).items()
        given["models"] = {name: options_from(LoadOptions, own, _PLACE, ("models", name)) for name, own in models}
    return ConnectionOptions(**given)
