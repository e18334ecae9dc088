"""Encode values as msgpack, and decode them through type hints.

The only place that says what may travel besides msgpack's own types: paths, models of pydantic, arrays and scalars of
numpy, and the kinds of extensions.py.
"""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

from three_mode import pydantic_models
from three_mode.agents.handlers import arrays, extensions
from three_mode.agents.handlers.extensions import Exact, exact
from transports.bus import is_plain

Decode = Callable[[bytes | memoryview], Any]


def _encode_other(value: Any) -> Any:
    value = extensions.stood_for(value)
    if isinstance(value, Exact):
        packed = value.extension.pack(value.value)
        return msgspec.msgpack.Ext(extensions.CODE, encode((value.extension.name, packed)))
    kind = type(value)
    if isinstance(value, PurePath):
        return str(value)
    extension = extensions.extension_of(kind)
    if extension is not None:
        return Exact(value, extension)
    if pydantic_models.is_model(kind):
        return exact(pydantic_models.dump(value))
    found = pydantic_models.text_of(value) or arrays.encode(value)
    if found is None:
        raise TypeError(f"{kind.__qualname__} is no data")
    return found


def _decode_hinted(kind: Any, value: Any) -> Any:
    if isinstance(kind, type):
        if issubclass(kind, PurePath):
            if not isinstance(value, str):
                raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
            return kind(value)
        if extensions.extension_of(kind) is not None:
            return extensions.check(kind, value)
        if pydantic_models.is_model(kind):
            return pydantic_models.validate(kind, value)
    found = arrays.convert(kind, value)
    if found is None:
        name = getattr(kind, "__qualname__", str(kind))
        raise ValueError(f"`{name}` cannot travel: use a dataclass, an enum, a path, a pydantic model or plain data")
    return found


UNENCODABLE = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)
encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_encode_other).encode


def encode_exact(value: Any) -> bytes:
    """Encode a value whose reader may have no hint: tuples, sets and the like arrive as what they are."""
    return encode(value if is_plain(value) else exact(value))


def decoder_for(kind: Any) -> Decode:
    """Return a decoder for values of a type hint."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_decode_hinted, ext_hook=extensions.unpack).decode


decode_any: Decode = decoder_for(Any)


def decode_marked(kind: Any, raw: bytes | memoryview, error: Exception) -> Any:
    """Decode what did not fit a hint, for its sender may have marked tuples and the like, without knowing the hint.

    `error`: of the first try, raised again if nothing is marked.
    """
    if "`ext`" not in str(error):
        raise error
    return convert(decode_any(raw), kind)


def decode_marked_by(decode: Decode, raw: bytes | memoryview, error: Exception) -> Any:
    """Decode what did not fit the hint of a decoder, as `decode_marked` does; a reader of another kind has no hint."""
    decoder = getattr(decode, "__self__", None)
    if not isinstance(decoder, msgspec.msgpack.Decoder):
        raise error
    return decode_marked(decoder.type, raw, error)


def convert(value: Any, kind: Any) -> Any:
    """Convert plain data, decoded already, to the type of a hint."""
    return msgspec.convert(value, kind, dec_hook=_decode_hinted, builtin_types=extensions.TYPES)
