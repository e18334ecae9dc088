"""Writer of GGUF files: for the tiny model, models of random weights, and broken files of tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_models.gguf.layout import ALIGNMENT, ARRAY, BOOL, MAGIC, SCALARS, STRING

_U32, _I32, _F32, _U64 = 4, 5, 6, 10
Q8_0 = np.dtype([("scale", np.float16), ("values", np.int8, 32)])  # a block of 32 weights
_KINDS = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, Q8_0: 8}


def _string(text: str) -> bytes:
    raw = text.encode()
    return SCALARS[_U64].pack(len(raw)) + raw


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return _U32 if value >= 0 else _I32
    if isinstance(value, float):
        return _F32
    return STRING


def _value(value: Any) -> bytes:
    """Returns the bytes of a metadata value and its type; a list has the type of its first element, integers signed."""
    if isinstance(value, list):
        kind = _I32 if isinstance(value[0], int) and not isinstance(value[0], bool) else _kind(value[0])
        body = b"".join(_string(v) if kind == STRING else SCALARS[kind].pack(v) for v in value)
        return SCALARS[4].pack(ARRAY) + SCALARS[4].pack(kind) + SCALARS[_U64].pack(len(value)) + body
    kind = _kind(value)
    return SCALARS[4].pack(kind) + (_string(value) if kind == STRING else SCALARS[kind].pack(value))


def write(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes a GGUF file; tensors are F16 or F32 arrays of the shape `[out, in]`, or Q8_0 of `[out, in / 32]`."""
    head = MAGIC + SCALARS[4].pack(3) + SCALARS[_U64].pack(len(tensors)) + SCALARS[_U64].pack(len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    offset = 0
    for name, tensor in tensors.items():
        head += _string(name) + SCALARS[4].pack(tensor.ndim)
        *outer, inner = tensor.shape
        sizes = (inner * 32 if tensor.dtype == Q8_0 else inner, *reversed(outer))
        head += b"".join(SCALARS[_U64].pack(size) for size in sizes)
        head += SCALARS[4].pack(_KINDS[tensor.dtype]) + SCALARS[_U64].pack(offset)
        offset += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(head + b"\0" * (-len(head) % ALIGNMENT))
        for tensor in tensors.values():
            raw = np.ascontiguousarray(tensor).tobytes()
            file.write(raw + b"\0" * (-len(raw) % ALIGNMENT))
    part.replace(path)
