"""Reader of GGUF headers. It trusts no file: every length is checked against the rest of the file first.

Large arrays (the vocabulary) are kept only on request, and skipped otherwise.
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from local_models.errors import BadModelFile, ModelNotFound
from local_models.gguf.layout import ALIGNMENT, ARRAY, MAGIC, SCALARS, STRING, TENSOR_TYPES, VERSIONS

MOST_TENSORS, MOST_PAIRS, MOST_DIMENSIONS, LONGEST_KEY, LONGEST_STRING = 100_000, 10_000, 4, 1024, 64 << 20
BIGGEST = 1 << 62
BLOCK = 1 << 20  # bytes read at once


class Skipped(msgspec.Struct, frozen=True):
    """Array that was checked but not kept."""

    length: int  #: elements of the array


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """Description of one tensor."""

    name: str
    shape: tuple[int, ...]  #: sizes, the fastest first, as in the file
    kind: int  #: number of the ggml type
    offset: int  #: bytes from the beginning of the data

    @property
    def type_name(self) -> str:
        """Name of the ggml type, such as `Q4_K`."""
        return TENSOR_TYPES[self.kind][0]

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor in the file."""
        _, block, size = TENSOR_TYPES[self.kind]
        return self.elements // block * size


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Header of a GGUF file."""

    path: str
    version: int  #: version of the format
    metadata: dict[str, Any]  #: values by key; a large array may be a `Skipped`
    tensors: tuple[Tensor, ...]
    data_at: int  #: position of the data in the file
    file_bytes: int


class _Reader:
    """Reads values from a file at `at`; `what` names each of them for error messages."""

    def __init__(self, file: BinaryIO, path: str, size: int) -> None:
        self._file, self.path, self.size, self.at = file, path, size, 0

    def broken(self, what: str) -> BadModelFile:
        return BadModelFile(f"{self.path}: {what}", path=self.path, hint="download it again")

    def need(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise self.broken(f"truncated: {what} needs {count} bytes at {self.at}, the file has {self.size}")

    def raw(self, count: int, what: str) -> bytes:
        self.need(count, what)
        found = self._file.read(count)
        if len(found) != count:
            raise self.broken(f"truncated in {what}")
        self.at += count
        return found

    def skip(self, count: int, what: str) -> None:
        self.need(count, what)
        self._file.seek(count, os.SEEK_CUR)
        self.at += count

    def scalar(self, kind: int, what: str) -> Any:
        form = SCALARS[kind]
        return form.unpack(self.raw(form.size, what))[0]

    def string(self, what: str, longest: int = LONGEST_STRING) -> str:
        length = self.scalar(10, what)
        if length > longest:
            raise self.broken(f"corrupt: {what} of {length} bytes")
        raw = self.raw(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")  # some vocabularies have broken UTF-8; llama.cpp accepts it too

    def strings(self, count: int, what: str) -> list[str]:
        """Reads many strings, a block of the file at a time: vocabularies have a hundred thousand."""
        found: list[str] = []
        unpack, size, add = SCALARS[10].unpack_from, SCALARS[10].size, found.append
        block, at = b"", 0
        while True:
            filled, last = len(block), len(block) - size
            missing = count - len(found)
            while missing and at <= last:
                (length,) = unpack(block, at)
                end = at + size + length
                if end > filled:
                    if length > LONGEST_STRING:
                        raise self.broken(f"corrupt: {what} has a string of {length} bytes")
                    self.need(end - filled, what)
                    break
                # some vocabularies have broken UTF-8; two such tokens must stay different
                add(block[at + size : end].decode("utf-8", "surrogateescape"))
                at = end
                missing -= 1
            if not missing:
                break
            more = self._file.read(BLOCK)
            if not more:
                raise self.broken(f"truncated in {what}")
            self.at += len(more)
            block, at = block[at:] + more, 0
        self.at -= len(block) - at
        self._file.seek(self.at)
        return found

    def value(self, kind: int, key: str, *, arrays: bool) -> Any:
        if kind == STRING:
            return self.string(f"`{key}`")
        if kind in SCALARS:
            return self.scalar(kind, f"`{key}`")
        if kind != ARRAY:
            raise self.broken(f"corrupt: `{key}` has the unknown type {kind}")
        element = self.scalar(4, f"`{key}`")
        length = self.scalar(10, f"`{key}`")
        if element != STRING and element not in SCALARS:
            raise self.broken(f"corrupt: `{key}` is an array of the unknown type {element}")
        least = 8 if element == STRING else SCALARS[element].size
        if length > BIGGEST:
            raise self.broken(f"corrupt: `{key}` has {length} elements")
        self.need(length * least, f"`{key}`")
        keep = arrays or length <= 64
        if element == STRING:
            texts = self.strings(length, f"`{key}`")
            return texts if keep else Skipped(length)
        if keep:
            raw = self.raw(length * least, f"`{key}`")
            return [value for (value,) in SCALARS[element].iter_unpack(raw)]
        self.skip(length * least, f"`{key}`")
        return Skipped(length)

    def tensor(self, index: int) -> Tensor:
        name = self.string(f"the name of tensor {index}", LONGEST_KEY)
        dimensions = self.scalar(4, f"`{name}`")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self.broken(f"corrupt: tensor `{name}` has {dimensions} dimensions")
        shape = tuple(self.scalar(10, f"`{name}`") for _ in range(dimensions))
        kind = self.scalar(4, f"`{name}`")
        offset = self.scalar(10, f"`{name}`")
        if kind not in TENSOR_TYPES:
            raise self.broken(f"unsupported: tensor `{name}` has the type {kind}")
        elements = 1
        for size in shape:
            elements *= size
            if size < 1 or elements > BIGGEST:
                raise self.broken(f"corrupt: tensor `{name}` has the shape {shape}")
        if shape[0] % TENSOR_TYPES[kind][1]:
            raise self.broken(
                f"corrupt: a row of tensor `{name}` has {shape[0]} elements, blocks have {TENSOR_TYPES[kind][1]}"
            )
        return Tensor(name=name, shape=shape, kind=kind, offset=offset)


def read(path: str | os.PathLike[str], *, arrays: bool = False) -> Header:
    """Returns the header of a GGUF file; `arrays` keeps large arrays too. Raises `ModelNotFound` or `BadModelFile`."""
    where = Path(path)
    try:
        if not where.is_file():
            raise ModelNotFound(f"no such file: {where}")
        size = where.stat().st_size
        with where.open("rb") as file:
            return _header(_Reader(file, str(where), size), arrays)
    except OSError as error:
        raise BadModelFile(f"cannot read {where}: {error.strerror}", path=str(where)) from error


def _header(reader: _Reader, arrays: bool) -> Header:
    if reader.size < 24 or reader.raw(4, "the magic") != MAGIC:
        raise reader.broken("not a GGUF file")
    version = reader.scalar(4, "the version")
    if version not in VERSIONS:
        raise reader.broken(f"unsupported: GGUF version {version}")
    tensors, pairs = reader.scalar(10, "the header"), reader.scalar(10, "the header")
    if tensors > MOST_TENSORS or pairs > MOST_PAIRS:
        raise reader.broken(f"corrupt: {tensors} tensors and {pairs} metadata pairs")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.string("a metadata key", LONGEST_KEY)
        if key in metadata:
            raise reader.broken(f"corrupt: `{key}` is there twice")
        metadata[key] = reader.value(reader.scalar(4, f"`{key}`"), key, arrays=arrays)
    listed = tuple(reader.tensor(index) for index in range(tensors))
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise reader.broken(f"corrupt: an alignment of {alignment}")
    data_at = (reader.at + alignment - 1) // alignment * alignment
    _tensors_fit(reader, listed, data_at, alignment)
    return Header(
        path=reader.path,
        version=version,
        metadata=metadata,
        tensors=listed,
        data_at=data_at,
        file_bytes=reader.size,
    )


def _tensors_fit(reader: _Reader, tensors: tuple[Tensor, ...], data_at: int, alignment: int) -> None:
    seen: set[str] = set()
    expected = 0
    for tensor in tensors:
        if tensor.name in seen:
            raise reader.broken(f"corrupt: tensor `{tensor.name}` is there twice")
        seen.add(tensor.name)
        if tensor.offset != expected:
            raise reader.broken(f"corrupt: tensor `{tensor.name}` is at {tensor.offset}, not at {expected}")
        expected = (tensor.offset + tensor.size_bytes + alignment - 1) // alignment * alignment
        if data_at + tensor.offset + tensor.size_bytes > reader.size:
            raise reader.broken(f"truncated: tensor `{tensor.name}` ends after the file, at {reader.size} bytes")
