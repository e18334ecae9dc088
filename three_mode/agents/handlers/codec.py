"""Encode values as msgpack, and decode them through type hints.

The only place that says what may travel besides msgpack's own types: paths.
"""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

Decode = Callable[[bytes | memoryview], Any]


def _encode_other(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} is no data")


def _decode_hinted(kind: type, value: Any) -> Any:
    if issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
        return kind(value)
    name = getattr(kind, "__qualname__", str(kind))
    raise ValueError(f"`{name}` cannot travel: use a dataclass, an enum, a path or plain data")


UNENCODABLE = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)
encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_encode_other).encode


def decoder_for(kind: Any) -> Decode:
    """Return a decoder for values of a type hint."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_decode_hinted).decode


def convert(value: Any, kind: Any) -> Any:
    """Convert plain data, decoded already, to the type of a hint."""
    return msgspec.convert(value, kind, dec_hook=_decode_hinted, builtin_types=(bytes, bytearray))


decode_any: Decode = decoder_for(Any)
