"""Cells: what an index keeps of a record, in four bytes. Pure.

bits 3..31   number of the agent
bits 0..2    what the record is: MADE, GOT, DID, PART, ENDED, UNREADABLE
"""

from array import array
from collections.abc import Iterator
from typing import Any

import msgspec

MADE, GOT, DID, PART, ENDED, UNREADABLE = range(6)
WHATS = ("made", "got", "did", "part", "ended", "unreadable")
CELL = 4  #: bytes
_ENDS = {"result": ENDED, "error": ENDED, "cancelled": ENDED}


class _RecordHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a record begins; msgspec passes over the rest of it."""

    agent: str


class _Made(_RecordHead, frozen=True, tag="made", gc=False):
    pass


class _Got(_RecordHead, frozen=True, tag="got", gc=False):
    pass


class _Did(_RecordHead, frozen=True, tag="did", gc=False):
    pass


class _Ended(_RecordHead, frozen=True, tag="ended", gc=False):
    when: float
    turn: int
    outcome: str


_RecordHeads = _Made | _Got | _Did | _Ended
_many = msgspec.msgpack.Decoder(list[_RecordHeads]).decode
_one = msgspec.msgpack.Decoder(_RecordHeads).decode
_WHAT: dict[type[Any], int] = {_Made: MADE, _Got: GOT, _Did: DID}


class AgentNumbers(dict[str, int]):
    """Numbers of agents, in the order in which they were first seen; 0 stands for an unreadable record."""

    def __init__(self) -> None:
        super().__init__({"": 0})
        self.names = [""]

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self.names)
        self.names.append(name)
        return number


def cells_of(bodies: list[bytes], numbers: AgentNumbers) -> "array[int]":
    """Make the cells of a block's records."""
    try:
        # One call for all of them: a list of msgpack is its length and its elements.
        heads = _many(b"\xdd" + len(bodies).to_bytes(4, "big") + b"".join(bodies))
    except msgspec.MsgspecError:
        heads = []
    if len(heads) == len(bodies):
        return array("I", [numbers[head.agent] << 3 | _what(head) for head in heads])
    return array("I", [_cell_of(body, numbers) for body in bodies])


def _cell_of(body: bytes, numbers: AgentNumbers) -> int:
    try:
        head = _one(body)
    except msgspec.MsgspecError:
        return UNREADABLE
    return numbers[head.agent] << 3 | _what(head)


def _what(head: _RecordHeads) -> int:
    kind = type(head)
    return _WHAT[kind] if kind is not _Ended else _ENDS.get(head.outcome, PART)  # type: ignore[union-attr]


def find(cells: bytes, cell: bytes, start: int) -> int:
    """Return the first place, from `start` on, that has this cell; -1 where there is none."""
    at = cells.find(cell, start * CELL)
    while at >= 0 and at % CELL:
        at = cells.find(cell, at + 1)
    return at // CELL if at >= 0 else -1


def find_back(cells: bytes, cell: bytes, before: int) -> int:
    """Return the last place before `before` that has this cell; -1 where there is none."""
    at = cells.rfind(cell, 0, before * CELL)
    while at >= 0 and at % CELL:
        at = cells.rfind(cell, 0, at + CELL - 1)
    return at // CELL if at >= 0 else -1


def places(cells: bytes, cell: bytes, start: int = 0) -> Iterator[int]:
    """Yield all places that have this cell."""
    while (start := find(cells, cell, start)) >= 0:
        yield start
        start += 1
