"""Frozen options from a table of a config file. What does not fit is an error that names the setting and its line."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from msgspec import Struct

from three_mode.config.place import Path, Place
from three_mode.errors import ThreeModeError

T = TypeVar("T")
_MISFIT = object()
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    FilePath: "a path",
}


def options_from(kind: type[T], table: Mapping[str, Any], place: Place, path: Path = ()) -> T:
    """The options of a class from a table. An option that may be None is switched off by `false`."""
    if not table:
        return kind()
    hints = fields_of(kind)  # type: ignore[arg-type]  # a class is hashable
    given = {}
    for name, value in table.items():
        if name not in hints:
            raise place.error((*path, name), "is no setting", _known(name, hints))
        given[name] = _fitted(hints[name], value, place, (*path, name))
    try:
        return kind(**given)
    except ThreeModeError as error:
        raise place.error(path, f"is not right: {error.message}", error.hint) from None
    except (TypeError, ValueError) as error:
        field = str(getattr(error, "field", ""))
        inner = (*path, field) if field in given else path
        raise place.error(inner, f"is not right: {getattr(error, 'message', error)}") from None


@cache
def fields_of(kind: Any) -> dict[str, Any]:
    """Name -> type of each option of a class."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else kind.__struct_fields__
    return {name: hints[name] for name in names}


def _known(name: str, hints: Mapping[str, Any]) -> str:
    from difflib import get_close_matches  # for errors alone

    close = get_close_matches(name, hints, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(hints))}"


def _fitted(hint: Any, value: Any, place: Place, path: Path) -> Any:
    """A value of the type; an error says which types would do."""
    choices = _choices(hint)
    if value is False and type(None) in choices and bool not in choices:
        return None
    for choice in choices:
        found = _as(choice, value, place, path)
        if found is not _MISFIT:
            return found
    wanted = " or ".join(dict.fromkeys(words for choice in choices if (words := _said(choice))))
    off = ", or false to switch it off" if type(None) in choices and bool not in choices else ""
    raise place.error(path, f"is {wanted}{off}, not {_shown(value)}")


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _as(kind: Any, value: Any, place: Place, path: Path) -> Any:
    """The value as one type, or _MISFIT."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if kind is type(None):
        return value if value is None else _MISFIT
    if origin is Literal:
        return value if any(value == word and type(value) is type(word) for word in get_args(kind)) else _MISFIT
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _MISFIT
        item = get_args(kind)[0]
        return tuple(_fitted(item, each, place, (*path, str(number))) for number, each in enumerate(value))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return _MISFIT
        item = get_args(kind)[1]
        return {str(name): _fitted(item, each, place, (*path, str(name))) for name, each in value.items()}
    if not isinstance(kind, type) or origin is not None:
        return _MISFIT
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    if issubclass(kind, Struct) or is_dataclass(kind):
        return options_from(kind, value, place, path) if isinstance(value, Mapping) else _MISFIT
    return _plain(kind, value)


def _plain(kind: type, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is Decimal and number:
        return Decimal(str(value))
    if isinstance(value, str) and issubclass(kind, Decimal | FilePath):
        try:
            return kind(value)
        except ArithmeticError:
            return _MISFIT
    if issubclass(kind, Enum) and isinstance(value, str):
        return next((each for each in kind if value.lower() in (str(each.value).lower(), each.name.lower())), _MISFIT)
    return _MISFIT


def _said(kind: Any) -> str:
    """What a type is in a sentence; "" for one that no file can hold."""
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(repr(word) for word in get_args(kind))
    if origin is tuple:
        return "a list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table"
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(repr(str(each.value)) for each in kind)
    return "a table" if isinstance(kind, type) and kind is not type(None) else ""


def _shown(value: Any) -> str:
    """A value in an error: its type where it may be long, or a secret."""
    if isinstance(value, bool | int | float):
        return repr(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= 20 else "a longer text"
    return "a table" if isinstance(value, Mapping) else "a list"
