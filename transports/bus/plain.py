"""Plain data: what msgpack itself carries, so that it arrives as it went."""

from collections.abc import Callable
from typing import Any

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def is_plain_slowly(value: Any) -> bool:
    """Do what `is_plain` does, where the native part is missing."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    try:
        if kind is list:
            return all(map(is_plain_slowly, value))
        return kind is dict and all(map(is_plain_slowly, value)) and all(map(is_plain_slowly, value.values()))
    except RecursionError:
        return False


_check: Callable[[Any], bool] = is_plain_slowly
try:
    from transports.bus._ring import is_plain as _check
except ImportError:
    pass

is_plain: Callable[[Any], bool] = _check
"""Whether a value arrives as it went, also where nothing says what it is: None, bool, int, float, str, bytes, and lists
and dicts of these. A tuple, a set, a time or a subclass of one of these types is none."""
