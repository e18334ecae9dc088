"""Content of recorded messages as plain data that JSON can say, within bounds. Pure.

What is too much is cut, and says so; bytes are told as such; nothing that a recording holds is made an object of.
"""

import math
from typing import Any

import msgspec

LONGEST_TEXT = 2000  #: characters of a text
MOST_ENTRIES = 100  #: of a list, or of a dictionary
DEEPEST = 12  #: levels
MOST_VALUES = 2000  #: values of one content
LONGEST_CONTENT = 1 << 20  #: bytes; a longer content is not decoded
_EXACT = 2**53  # JavaScript has no whole numbers behind it


def plain(data: bytes) -> Any:
    """Say an encoded value as plain data."""
    if len(data) > LONGEST_CONTENT:
        return said_bytes(data)
    try:
        value = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return said_bytes(data)
    return bounded(value)


def bounded(value: Any) -> Any:
    """Say decoded data as plain data, within the bounds."""
    return _Bounded().said(value, 0)


def said_bytes(data: bytes) -> dict[str, Any]:
    """Say bytes: how many they are, and how they begin."""
    return {"bytes": len(data), "begin": bytes(data[:32]).hex(" ")}


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text, cut where it is long."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} more characters)"


def brief(value: Any, longest: int = 160) -> str:
    """Say plain data in one line."""
    if isinstance(value, str):
        return cut(value, longest)
    return cut(msgspec.json.encode(value).decode(), longest)


class _Bounded:
    def __init__(self) -> None:
        self._left = MOST_VALUES

    def said(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if -_EXACT <= value <= _EXACT else str(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return cut(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return said_bytes(bytes(value))
        if depth >= DEEPEST or self._left <= 0:
            return "…"
        if isinstance(value, dict):
            return self._dictionary(value, depth)
        if isinstance(value, list | tuple):
            shown = [self.said(each, depth + 1) for each in value[: self._most()]]
            return shown if len(shown) == len(value) else [*shown, f"… ({len(value) - len(shown)} more)"]
        return cut(str(value))

    def _dictionary(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key in list(value)[: self._most()]:
            shown[cut(str(key), 200)] = self.said(value[key], depth + 1)
        if len(shown) < len(value):
            shown["…"] = f"{len(value) - len(shown)} more"
        return shown

    def _most(self) -> int:
        return min(MOST_ENTRIES, max(0, self._left))


def _extension(code: int, data: memoryview) -> Any:
    """Say a value that msgpack has no type for: the name of its kind, and its content."""
    try:
        name, content = _named(data)
        return {str(name): _decode(content)}
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return {"extension": code, **said_bytes(bytes(data))}


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
_named = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode
