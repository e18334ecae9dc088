"""State of a sequence as llama.cpp writes it, cut by tokens and put together again. Pure.

```
magic, number of the sequence                     4 + 4 bytes
number of streams                                 4
for each stream, the number of its cells          4, and where there are any:
    each cell: position, 1, number of a sequence  12
    1 if values are transposed, number of layers  4 + 4
    keys of each layer: type, bytes of a cell     4 + 8, then these bytes for each cell
    values of each layer: the same
    or, transposed: type, bytes of an element, elements of a cell: 4 + 4 + 4, then each element for all cells
```
What a token left in the cache depends on the tokens before it alone. So the cells of a range of tokens, a piece, go
with any text that begins with the same tokens, and prompts with a common beginning keep it once. A cache of several
parts (sliding windows, recurrent layers) writes something else, which is refused here.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Order = NDArray[np.intp]
MAGIC = 0xAF143CD8
MOST_STREAMS, MOST_LAYERS, MOST_WIDTH = 256, 4096, 1 << 24
_CELL = 12  # bytes
_HEAD, _COUNT = struct.Struct("=IiI"), struct.Struct("=I")
_LAYERS, _ROW, _ELEMENTS = struct.Struct("=II"), struct.Struct("=iQ"), struct.Struct("=iII")


class BadState(Exception):
    """Bytes that are not the state of one sequence in a plain cache."""


class Plane(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Keys or values of a layer: `rows` times `width` bytes for each cell, all cells of a row together."""

    kind: int  #: ggml's number of the type
    rows: int  #: 1, or the elements of a cell where they are transposed
    width: int  #: bytes of a cell in a row


class StateLayout(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is the same in all states of a cache: first the keys of all layers, then the values."""

    layers: int
    transposed: bool
    planes: tuple[Plane, ...]

    @property
    def token_bytes(self) -> int:
        """Bytes of a token."""
        return sum(plane.rows * plane.width for plane in self.planes)

    def sound(self) -> bool:
        """Whether its numbers are possible: it may come from a file."""
        sizes = all(1 <= p.rows <= MOST_WIDTH and 1 <= p.width <= MOST_WIDTH for p in self.planes)
        return 1 <= self.layers <= MOST_LAYERS and self.layers <= len(self.planes) <= 2 * self.layers and sizes


@dataclass(frozen=True, slots=True)
class SequenceState:
    """A state that was read: views of its cells, for each plane rows x cells x bytes."""

    layout: StateLayout
    planes: Sequence[NDArray[np.uint8]]
    order: Order | None  # cells in the order of their positions; None: they are in it
    tokens: int


@dataclass(frozen=True, slots=True)
class StatePart:
    """Tokens `start` to `end` of a piece that has `tokens` of them in `data`."""

    data: Bytes
    tokens: int
    start: int
    end: int


class _StateReader:
    def __init__(self, raw: Bytes) -> None:
        self.raw, self.at = raw, 0

    def numbers(self, form: struct.Struct) -> tuple[Any, ...]:
        if self.at + form.size > len(self.raw):
            raise BadState("it is too short")
        found = form.unpack_from(self.raw.data, self.at)
        self.at += form.size
        return found

    def bytes(self, count: int) -> Bytes:
        if self.at + count > len(self.raw):
            raise BadState("it is too short")
        self.at += count
        return self.raw[self.at - count : self.at]


def parse(raw: Bytes) -> SequenceState:
    """Reads the state of one sequence; raises `BadState`."""
    reader = _StateReader(raw)
    magic, _, streams = reader.numbers(_HEAD)
    if magic != MAGIC or not 1 <= streams <= MOST_STREAMS:
        raise BadState("it has another form")
    cells = before = 0
    while not cells:
        if before == streams:
            raise BadState("it has no cells")
        (cells,) = reader.numbers(_COUNT)
        before += 1
    order = _order(reader.bytes(cells * _CELL), cells)
    transposed, layers = reader.numbers(_LAYERS)
    end = len(raw) - _COUNT.size * (streams - before)
    found: list[Plane] = []
    views: list[NDArray[np.uint8]] = []
    while reader.at < end:
        if transposed and len(found) >= layers:
            kind, width, rows = reader.numbers(_ELEMENTS)
        else:
            (kind, width), rows = reader.numbers(_ROW), 1
        if not 1 <= width <= MOST_WIDTH or not 1 <= rows <= MOST_WIDTH:
            raise BadState("a layer has an impossible size")
        found.append(Plane(kind, rows, width))
        views.append(reader.bytes(rows * cells * width).reshape(rows, cells, width))
    layout = StateLayout(layers, bool(transposed), tuple(found))
    if reader.at != end or transposed > 1 or not layout.sound() or raw[end:].any():
        raise BadState("it has other layers than it says")
    return SequenceState(layout, views, order, cells)


def _order(cells: Bytes, count: int) -> Order | None:
    """Returns the cells in the order of their positions, which have to be all from 0 on."""
    table = np.frombuffer(cells, np.int32).reshape(count, 3)
    positions, wanted = table[:, 0], np.arange(count)
    if (table[:, 1] != 1).any():
        raise BadState("a cell is of several sequences")
    if (positions == wanted).all():
        return None
    order = positions.argsort(kind="stable")
    if (positions[order] != wanted).any():
        raise BadState("its positions have gaps")
    return order


def cut(state: SequenceState, start: int, end: int) -> Bytes:
    """Returns the bytes of tokens `start` to `end`, plane by plane."""
    count, at = end - start, 0
    data = np.empty(state.layout.token_bytes * count, np.uint8)
    cells: Any = slice(start, end) if state.order is None else state.order[start:end]
    for plane, view in zip(state.layout.planes, state.planes, strict=True):
        size = plane.rows * count * plane.width
        data[at : at + size].reshape(plane.rows, count, plane.width)[:] = view[:, cells]
        at += size
    return data


def assemble(layout: StateLayout, cuts: Sequence[StatePart], streams: int) -> Bytes:
    """Puts pieces together to the state of a sequence in a cache of so many streams, as llama.cpp reads it."""
    count = sum(each.end - each.start for each in cuts)
    heads = [_ELEMENTS.size if _is_transposed(layout, at) else _ROW.size for at in range(len(layout.planes))]
    fixed = _HEAD.size + _COUNT.size + count * _CELL + _LAYERS.size + sum(heads) + _COUNT.size * (streams - 1)
    raw = np.empty(fixed + count * layout.token_bytes, np.uint8)
    _HEAD.pack_into(raw.data, 0, MAGIC, 0, streams)
    _COUNT.pack_into(raw.data, _HEAD.size, count)
    at = _HEAD.size + _COUNT.size
    cells = np.zeros((count, 3), np.int32)
    cells[:, 0], cells[:, 1] = np.arange(count), 1
    raw[at : at + count * _CELL] = cells.reshape(-1).view(np.uint8)
    at += count * _CELL
    _LAYERS.pack_into(raw.data, at, layout.transposed, layout.layers)
    at += _LAYERS.size
    offsets = [0] * len(cuts)
    for number, plane in enumerate(layout.planes):
        if _is_transposed(layout, number):
            _ELEMENTS.pack_into(raw.data, at, plane.kind, plane.width, plane.rows)
        else:
            _ROW.pack_into(raw.data, at, plane.kind, plane.width)
        at += heads[number]
        size, done = plane.rows * count * plane.width, 0
        target = raw[at : at + size].reshape(plane.rows, count, plane.width)
        for which, each in enumerate(cuts):
            there = plane.rows * each.tokens * plane.width
            source = each.data[offsets[which] : offsets[which] + there].reshape(plane.rows, each.tokens, plane.width)
            taken = each.end - each.start
            target[:, done : done + taken] = source[:, each.start : each.end]
            offsets[which] += there
            done += taken
        at += size
    raw[at:] = 0
    return raw


def _is_transposed(layout: StateLayout, plane: int) -> bool:
    return layout.transposed and plane >= layout.layers


def same_cells(raw: Bytes, other: Bytes) -> bool:
    """Whether two states have the same cells, whatever their sequences and streams."""
    try:
        one, two = parse(raw), parse(other)
    except BadState:
        return False
    if one.layout != two.layout or one.tokens != two.tokens:
        return False
    return bool(np.array_equal(cut(one, 0, one.tokens), cut(two, 0, two.tokens)))
