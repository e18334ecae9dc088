"""Changes of inputs that know what they hold: a changed JSON or msgpack value is one still, and gets further than bytes
that were changed anywhere. Pure but for the chance that is given."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from tests.fuzz.target import Shape

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    0.5,
    -0.0,
    1e308,
    "",
    " ",
    "x" * 300,
    "\0",
    "\ud7ff\U0001f600",
    "echo",
    "agent:echo",
    "gguf:/etc/passwd",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"type": "text"},
    {"text": "x"},
)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]
_FORMS: dict[Shape, tuple[Decode, Encode]] = {
    "json": (msgspec.json.decode, msgspec.json.encode),
    "msgpack": (msgspec.msgpack.decode, msgspec.msgpack.encode),
}


def mutated(shape: Shape, data: bytes, chance: random.Random, others: tuple[bytes, ...] = ()) -> bytes | None:
    """The input with one to three places of its value changed; None where it holds no value of that shape. Parts of
    `others` may take a place."""
    if shape not in _FORMS:
        return None
    decode, encode = _FORMS[shape]
    try:
        value = decode(data)
        for _ in range(chance.choice((1, 1, 2, 3))):
            value = _changed(value, chance, _found(decode, others, chance))
        return encode(value)
    except (*_UNREADABLE, TypeError, OverflowError, ValueError):
        return None


def _found(decode: Decode, others: tuple[bytes, ...], chance: random.Random) -> Any:
    """Any part of another input."""
    if not others:
        return None
    value = decode(chance.choice(others))
    for _ in range(chance.randrange(4)):
        if isinstance(value, dict) and value:
            value = chance.choice(list(value.values()))
        elif isinstance(value, list) and value:
            value = chance.choice(value)
    return value


def _changed(value: Any, chance: random.Random, found: Any) -> Any:
    """The value with a change somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        value = dict(value)
        key = chance.choice(list(value))
        what = chance.random()
        if what < 0.1:
            del value[key]
        elif what < 0.2:
            value[chance.choice((*map(str, value), "x", ""))] = value[key]
        else:
            value[key] = _changed(value[key], chance, found)
        return value
    if isinstance(value, list) and value and chance.random() < 0.85:
        value = list(value)
        place = chance.randrange(len(value))
        what = chance.random()
        if what < 0.1:
            del value[place]
        elif what < 0.25:
            value[place:place] = [value[place]] * chance.choice((1, 1, 2, 20))
        else:
            value[place] = _changed(value[place], chance, found)
        return value
    what = chance.random()
    if what < 0.3:
        return found
    if what < 0.5:
        return [value] if chance.random() < 0.5 else {"x": value}
    if isinstance(value, str) and what < 0.7:
        return value + chance.choice(("\0", "x", " ", "/", "é", value))
    return chance.choice(ODD)
