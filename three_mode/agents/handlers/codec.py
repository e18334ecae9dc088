"""Values to msgpack and back through type hints. The only place that says what may travel besides msgpack's own types."""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

Decode = Callable[[bytes | memoryview], Any]


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} is no data")


def _hinted(kind: type, value: Any) -> Any:
    if issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
        return kind(value)
    name = getattr(kind, "__qualname__", str(kind))
    raise ValueError(f"`{name}` cannot travel: use a dataclass, an enum, a path or plain data")


UNENCODABLE = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)
encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_plain).encode


def decoder_for(kind: Any) -> Decode:
    return msgspec.msgpack.Decoder(kind, dec_hook=_hinted).decode


def convert(value: Any, kind: Any) -> Any:
    """Plain data, decoded already, to what a hint says."""
    return msgspec.convert(value, kind, dec_hook=_hinted, builtin_types=(bytes, bytearray))


decode_any: Decode = decoder_for(Any)
