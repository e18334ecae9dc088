"""Extensions of msgpack: values that arrive as what they were, also where no type hint says what they are.

    tuple, set, frozenset           msgpack has arrays only
    date, time, timedelta, Decimal, UUID, bytearray, and a datetime that is not in UTC
    arrays of numpy                 see arrays.py
    references to agents            registered by calling/refs.py

Each travels as one msgpack extension: the name of its kind, and its content. msgspec has native ways for most of these,
which a decoder without a hint reads as a list, a string, or a time in UTC; so `exact` marks those values before they
are encoded, wherever no hint speaks of them.
"""

import dataclasses
import decimal
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints, is_typeddict
from zoneinfo import ZoneInfo

import msgspec

from transports.bus import is_plain

CODE = 0x33  # the one type of our extensions, among those that msgpack leaves to applications
PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
"""Types that msgpack itself carries."""


class Extension(NamedTuple):
    """One kind of value that travels as an extension."""

    name: str
    pack: Callable[[Any], Any]
    """Value -> its content as data."""
    unpack: Callable[[msgspec.Raw], Any]
    """Encoded content -> the value."""


class Exact:
    """Value that is to arrive as what it is."""

    __slots__ = ("extension", "value")

    def __init__(self, value: Any, extension: Extension) -> None:
        self.value, self.extension = value, extension


_BY_TYPE: dict[type, Extension] = {}
_STAND_INS: dict[type, Callable[[Any], Any]] = {}
_BY_NAME: dict[str, Extension] = {}


def register(
    name: str, kind: type | None, pack: Callable[[Any], Any], unpack: Callable[[msgspec.Raw], Any]
) -> Extension:
    """Have values of exactly this class travel as an extension; without a class, values that are marked as `Exact`."""
    extension = _BY_NAME[name] = Extension(name, pack, unpack)
    if kind is not None:
        _BY_TYPE[kind] = extension
    return extension


def register_as(kind: type, value_of: Callable[[Any], Any]) -> None:
    """Have values of exactly this class travel as another value, which has an extension."""
    _STAND_INS[kind] = value_of


def extension_of(kind: type) -> Extension | None:
    """Return the extension of a class, if it has one."""
    return _BY_TYPE.get(kind)


def stood_for(value: Any) -> Any:
    """Return the value that another one stands for, or that one itself."""
    value_of = _STAND_INS.get(type(value))
    return value if value_of is None else value_of(value)


def check(kind: type, value: Any) -> Any:
    """Return a value that an extension made, as its hint wants it; ValueError for another value."""
    if isinstance(value, kind):
        return value
    raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def unpack(code: int, data: memoryview) -> Any:
    """Return the value of a msgpack extension; one that is not ours stays as it is."""
    if code != CODE:
        return msgspec.msgpack.Ext(code, bytes(data))
    name, content = _envelope(data)
    extension = _BY_NAME.get(name)
    if extension is None:
        raise ValueError(f"a value of kind {name!r}, which this process does not know")
    try:
        return extension.unpack(content)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the content, it is no such value
        raise ValueError(f"a value of kind {name!r} cannot be read: {error}") from None


_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode
_text = msgspec.msgpack.Decoder(str).decode
_bytes = msgspec.msgpack.Decoder(bytes).decode
_array = msgspec.msgpack.Decoder(list, ext_hook=unpack).decode
_when = msgspec.msgpack.Decoder(tuple[str, int, str]).decode


# exact values ---------------------------------------------------------------------------------------------------------
def exact(value: Any) -> Any:
    """Return a value with its tuples, sets and the like marked; the value itself where there is nothing to mark."""
    return value if is_plain(value) else _marked(value)


def _marked(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is dict:
        return {_exact_key(key): _marked(item) for key, item in value.items()}
    if kind is list:
        return [_marked(item) for item in value]
    if kind is datetime:
        return value if value.tzinfo is UTC else Exact(value, _BY_TYPE[datetime])
    extension = _BY_TYPE.get(kind)
    if extension is not None:
        return Exact(value, extension)
    return _exact_other(value, kind)


def _exact_other(value: Any, kind: type) -> Any:
    for base in (tuple, set, frozenset):
        if isinstance(value, base):  # a NamedTuple arrives as the tuple that it equals
            return Exact(value, _BY_TYPE[base])
    if isinstance(value, dict):
        return {_exact_key(key): _marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if dataclasses.is_dataclass(kind):
        return _exact_fields(value, kind)
    return value


def _exact_key(key: Any) -> Any:
    """Return a key of a dict, marked if needed. A tuple of plain values is one that msgpack carries as a key."""
    if type(key) is tuple and PLAIN.issuperset(map(type, key)):
        return key
    return _marked(key)


def _exact_fields(value: Any, kind: type) -> Any:
    """Return a dataclass as it is, unless a field without a hint has a value to mark: then its fields, as a dict."""
    names = _open_fields(kind)
    marked = {name: mark for name in names if (mark := exact(item := getattr(value, name))) is not item}
    if not marked:
        return value
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return fields | marked


@cache
def _open_fields(kind: Any) -> tuple[str, ...]:
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError, AttributeError):
        return ()  # hints that cannot be read here: the fields travel as they did
    return tuple(field.name for field in dataclasses.fields(kind) if is_open(hints.get(field.name, Any)))


_OPEN = (Any, object, list, dict, tuple, set, frozenset)


def is_open(hint: Any) -> bool:
    """Whether a type hint leaves the type of a value, or of something in it, to the value."""
    try:
        return _is_open(hint, frozenset())
    except (NameError, TypeError, AttributeError):
        return False  # a hint that cannot be read, which is an error of its own


def _is_open(hint: Any, seen: frozenset[Any]) -> bool:
    if hint in _OPEN or isinstance(hint, TypeVar):
        return True
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or is_typeddict(hint)) and hint not in seen:
        seen |= {hint}
        return any(_is_open(inner, seen) for inner in get_type_hints(hint).values())
    if hasattr(hint, "__metadata__"):  # Annotated
        return _is_open(hint.__origin__, seen)
    arguments = () if get_origin(hint) is Literal else get_args(hint)
    if not arguments:
        return get_origin(hint) in _OPEN  # typing.List and its like
    return any(_is_open(argument, seen) for argument in arguments if argument is not Ellipsis)


# the kinds ------------------------------------------------------------------------------------------------------------
def _items(value: Any) -> list[Any]:
    return [exact(item) for item in value]


def _unpack_set(kind: type[set[Any]] | type[frozenset[Any]], content: msgspec.Raw) -> Any:
    items = _array(content)
    try:
        return kind(items)
    except TypeError:
        return items  # of dataclasses or models, which are dicts until a hint makes them what they were


def _text_kind(name: str, kind: type, to_text: Callable[[Any], str], from_text: Callable[[str], Any]) -> None:
    register(name, kind, to_text, lambda content: from_text(_text(content)))


def _pack_when(value: datetime | time) -> tuple[str, int, str]:
    """Return local time, fold, and the zone's name; a zone without a name is an offset in the text."""
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key else ""
    return (value.replace(tzinfo=None) if zone else value).isoformat(), value.fold, zone


def _unpack_when(kind: type[datetime] | type[time], content: msgspec.Raw) -> datetime | time:
    text, fold, zone = _when(content)
    value = kind.fromisoformat(text).replace(fold=fold)
    return value.replace(tzinfo=ZoneInfo(zone)) if zone else value


register("tuple", tuple, _items, lambda content: tuple(_array(content)))
register("set", set, _items, partial(_unpack_set, set))
register("frozenset", frozenset, _items, partial(_unpack_set, frozenset))
register("datetime", datetime, _pack_when, partial(_unpack_when, datetime))
register("time", time, _pack_when, partial(_unpack_when, time))
_text_kind("date", date, date.isoformat, date.fromisoformat)
register(
    "timedelta",
    timedelta,
    lambda value: (value.days, value.seconds, value.microseconds),
    lambda content: timedelta(*msgspec.msgpack.decode(content, type=tuple[int, int, int])),
)
_text_kind("decimal", decimal.Decimal, str, decimal.Decimal)
register("uuid", uuid.UUID, lambda value: value.bytes, lambda content: uuid.UUID(bytes=_bytes(content)))
register("bytearray", bytearray, bytes, lambda content: bytearray(_bytes(content)))

TYPES = (bytes, memoryview, *(kind for kind in _BY_TYPE if kind not in (tuple, set, frozenset)))
"""Types besides those of JSON that a decoded value may have, where it is converted to the type of a hint."""
