"""Arrays and scalars of numpy, which is never imported here.

An array travels as its dtype, its shape and its bytes, and arrives as a new, writable array. A scalar travels as the
number that it is. Where a program has arrays, it has imported numpy; a process that gets one needs it too.
"""

import sys
from math import prod
from typing import Any, get_args, get_origin

import msgspec

from three_mode.agents.handlers import extensions

_decode = msgspec.msgpack.Decoder(tuple[Any, tuple[int, ...], memoryview]).decode


def encode(value: Any) -> Any:
    """Return a value of numpy as data or an extension, any other as None; TypeError for what cannot travel."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    if isinstance(value, numpy.ndarray):
        if type(value) is not numpy.ndarray and type(value) is not numpy.memmap:
            raise TypeError(f"a {type(value).__qualname__} is no plain array: send numpy.asarray(...) of it")
        return extensions.Exact(value, _EXTENSION)
    if isinstance(value, numpy.generic):
        return _number(numpy, value)
    return None


def _number(numpy: Any, value: Any) -> Any:
    if isinstance(value, (numpy.bool_, numpy.integer, numpy.floating, numpy.str_, numpy.bytes_)):
        item = value.item()
        if type(item) in extensions.PLAIN:
            return item
    raise TypeError(f"a {type(value).__qualname__} of numpy is no data: send an array of it, or a plain value")


def _pack(array: Any) -> tuple[Any, tuple[int, ...], memoryview]:
    numpy = sys.modules["numpy"]
    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype} holds Python objects: send a list of them")
    described = array.dtype.str if array.dtype.names is None else array.dtype.descr
    flat = numpy.ascontiguousarray(array).reshape(-1)  # no copy, unless the array has gaps or another order
    return described, array.shape, memoryview(flat.view(numpy.uint8)) if flat.size else memoryview(b"")


def _unpack(content: msgspec.Raw) -> Any:
    described, shape, data = _decode(content)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise ValueError("numpy is not imported in this process: import it where the agent's class is")
    dtype = numpy.dtype(described if isinstance(described, str) else [_field(field) for field in described])
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if any(size < 0 for size in shape) or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes are no array of {dtype} and shape {shape}")
    return numpy.ndarray(shape, dtype, data).copy()  # the message's memory is not ours to keep, nor to write


def _field(described: Any) -> tuple[Any, ...]:
    """Return one field of a structured dtype: msgpack has lists where numpy wants tuples."""
    name, kind, *shape = described
    if not isinstance(kind, str):
        kind = [_field(field) for field in kind]
    return (tuple(name) if isinstance(name, list) else name, kind, *map(tuple, shape))


_EXTENSION = extensions.register("ndarray", None, _pack, _unpack)


# hints ----------------------------------------------------------------------------------------------------------------
def convert(kind: Any, value: Any) -> Any:
    """Return a value as the class or alias of numpy in a hint, or None for a hint of another kind."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return None
    if issubclass(origin, numpy.ndarray):
        return _checked_array(numpy, kind, value)
    return _scalar(numpy, origin, value) if issubclass(origin, numpy.generic) else None


def _checked_array(numpy: Any, kind: Any, value: Any) -> Any:
    if not isinstance(value, numpy.ndarray):
        raise ValueError(f"Expected `ndarray`, got `{type(value).__name__}`")
    for argument in get_args(kind)[1:]:
        wanted = next(iter(get_args(argument)), None)
        if isinstance(wanted, type) and not numpy.issubdtype(value.dtype, wanted):
            raise ValueError(f"Expected `ndarray of {wanted.__name__}`, got `ndarray of {value.dtype}`")
    return value


def _scalar(numpy: Any, kind: type, value: Any) -> Any:
    takes: tuple[type, ...] = ()
    if issubclass(kind, numpy.bool_):
        takes = (bool,)
    elif issubclass(kind, numpy.integer):
        takes = (int,)
    elif issubclass(kind, numpy.floating):
        takes = (int, float)
    if type(value) not in takes:
        raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
    try:
        return kind(value)
    except OverflowError as error:
        raise ValueError(f"Expected `{kind.__name__}`: {error}") from None
