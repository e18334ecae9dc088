"""Plain data: what msgpack itself carries, so that it arrives as it went."""

from typing import Any

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def is_plain_slowly(value: Any) -> bool:
    """Return what `is_plain` does, where the native part is missing."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    try:
        if kind is list:
            return all(map(is_plain_slowly, value))
        return kind is dict and all(map(is_plain_slowly, value)) and all(map(is_plain_slowly, value.values()))
    except RecursionError:
        return False


try:
    from transports.bus._ring import is_plain as is_plain
except ImportError:
    is_plain = is_plain_slowly
