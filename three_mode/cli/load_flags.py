"""Flags of `three-mode chat` and `serve` that say how models of this computer are loaded: one for each load option.

A flag comes before the same setting of the config file, be it of all models or of a single one.
"""

import argparse
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from local_models import LoadOptions
from three_mode.config import Place, Sources, options_from
from three_mode.config.tables import fields_of
from three_mode.connection import ConnectionOptions
from three_mode.errors import ConfigurationError

_DEST = "load_"
_BUDGET = "local_memory_bytes"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_PLACE = Place("the command line")
_METAVARS = {
    "cache_dir": "FOLDER",
    "cache_disk_mb": "MIB",
    "cache_mb": "MIB",
    "chat_template": "FILE",
    "context": "TOKENS",
    "device": "NAME",
    "gpu_layers": "N",
    "idle_unload": "SECONDS",
    "lora": "FILE[=SCALE]",
    "memory_bytes": "SIZE",
    "pool": "TOKENS",
    "prefix_tokens": "TOKENS",
    "step_ms": "MS",
}
_HELP = {
    "batch": "most tokens in one step",
    "cache_dir": "folder in which prompts of finished calls outlive the program",
    "cache_disk_mb": "most MiB of all files in that folder",
    "cache_mb": "MiB of memory for prompts that have no place in the KV cache any more",
    "chat_template": "file with a Jinja template instead of that of the model",
    "context": "most tokens of one conversation (default: what the model was trained for, as far as memory allows)",
    "device": "where a model of hf: runs: cpu, cuda, mps",
    "gpu_layers": "layers that a GPU computes, or auto",
    "idle_unload": "seconds without a call after which a model is unloaded; the next call loads it",
    "isolated": "a process of its own for each model",
    "kv_type": "numbers of the KV cache: q8_0 takes half the memory, q4_0 a quarter",
    "layout": "layout of the KV cache",
    "lora": "an adapter, and its strength; may be repeated",
    "memory_bytes": "most memory of one model: weights and KV cache, as in 6G",
    "mmap": "map the file into memory rather than reading it",
    "network": "let a model of hf: be downloaded",
    "pool": "tokens of all conversations together, in the unified layout",
    "prefix_tokens": "most tokens of finished conversations that are kept",
    "queue": "calls that may wait",
    "sequences": "conversations in the KV cache at once",
    "step_ms": "milliseconds that a step beside running streams aims at",
    "threads": "threads that compute",
}


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each load option, and one for the memory of all models together."""
    group = parser.add_argument_group("models of this computer", "how they are loaded; docs/local-models.md has more")
    for name, kind in fields_of(LoadOptions).items():
        how: dict[str, Any] = {"dest": _DEST + name, "default": None, "help": _HELP.get(name, f"LoadOptions.{name}")}
        if kind is bool:
            how["action"] = argparse.BooleanOptionalAction
        else:
            choices = "|".join(get_args(kind)) if get_origin(kind) is Literal else ""
            how["metavar"] = _METAVARS.get(name) or choices or ("TEXT" if kind is str else "N")
            if name == "lora":
                how["action"] = "append"
        group.add_argument(_flag(name), **how)
    group.add_argument(
        _flag(_BUDGET),
        dest=_DEST + _BUDGET,
        metavar="SIZE",
        help="memory of all models together; the least recently used makes room (default: 0.6 of what is free)",
    )


def connection_options(options: argparse.Namespace) -> ConnectionOptions:
    """The options of a connection that a command line and its config file ask for."""
    given = _given(options)
    budget = given.pop(_BUDGET, None)
    if budget is not None and not (isinstance(budget, int) and budget > 0):
        raise ConfigurationError(f"{_flag(_BUDGET)} is a size above 0, not {budget!r}", hint="for example 6G")
    if not given:
        return ConnectionOptions(config=options.config, local_memory_bytes=budget)
    _options_of({}, given)  # for its errors
    table = Sources(options.config).table
    table.options(LoadOptions, "local")  # for the errors of the file
    for name in table.settings.models:
        table.model(LoadOptions, name)
    return ConnectionOptions(
        config=options.config,
        local=_options_of(table.loading(), given),
        models={name: _options_of(table.loading(name), given) for name in table.settings.models},
        local_memory_bytes=budget,
    )


def given_flags(options: argparse.Namespace) -> str:
    """The flags of the command line that are for models of this computer, in words; "" where there are none."""
    return ", ".join(_flag(name) for name in _given(options))


def _options_of(table: Any, given: dict[str, Any]) -> LoadOptions:
    return options_from(LoadOptions, {**table, **given}, _PLACE)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What the flags say, as values; a text that is no number stays one, and its error says what it should be."""
    kinds = {**fields_of(LoadOptions), _BUDGET: int}
    found = {}
    for name, kind in kinds.items():
        said = getattr(options, _DEST + name, None)
        if said is not None:
            found[name] = _value(name, kind, said)
    return found


def _value(name: str, kind: Any, said: Any) -> Any:
    if name == "lora":
        return [_lora(word) for word in said]
    if name == "chat_template":
        return _text_of(Path(said))
    choices = get_args(kind) or (kind,)
    if not isinstance(said, str):
        return said
    if name in ("memory_bytes", _BUDGET) and (size := _SIZE.fullmatch(said)):
        return int(float(size[1]) * 1024 ** (" KMGT".index(size[2].upper())))
    for number in (int, float):
        if number in choices:
            try:
                return number(said)
            except ValueError:
                continue
    return said


def _lora(word: str) -> dict[str, Any]:
    path, equals, scale = word.rpartition("=")
    try:
        return {"path": path, "scale": float(scale)} if equals else {"path": word}
    except ValueError:  # an equals sign in the name of a file
        return {"path": word}


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--chat-template is a file with a template: {error}") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
