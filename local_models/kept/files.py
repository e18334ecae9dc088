"""Format of a file with a kept piece: what is in it is checked before any of it is believed.

```
"3mkept" and two bytes of the version      8
size and CRC-32 of the header              4 + 4
header: msgpack of `PieceHeader`
state of the tokens, plane by plane        as long as the header says, with a CRC-32 there; nothing follows
```
The checks are against damage: a half write, a flipped bit, another program's file. Who may write into a private folder
of the user can do worse than that.
"""

import os
import struct
import zlib
from pathlib import Path

import msgspec
import numpy as np

from local_models.kept.index import BLOCK
from local_models.kept.state import Bytes, StateLayout

MAGIC = b"3mkept\x00\x01"
LONGEST_HEADER = 8 << 20  # bytes
MOST_BYTES = 1 << 40
_LEAD = struct.Struct("=8sII")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class BadFile(Exception):
    """A file that holds no kept piece, or not the one that was asked for."""


class PieceHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a file says of its piece."""

    key: str  #: model, build and settings that the state belongs to
    text: bytes  #: all tokens up to the end of the piece, four bytes each
    start: int  #: first token of the piece
    layout: StateLayout
    size: int  #: bytes of the state
    crc: int  #: CRC-32 of the state

    def check(self, key: str) -> None:
        """Raises `BadFile` where its parts do not fit each other, or the key."""
        each = 4 * BLOCK
        if self.key != key:
            raise BadFile("it belongs to another model, build or setting")
        if not self.text or len(self.text) % each or not 0 <= self.start < len(self.text) // 4 or self.start % BLOCK:
            raise BadFile("its tokens have an impossible range")
        count = len(self.text) // 4 - self.start
        if not self.layout.sound() or self.size != count * self.layout.token_bytes or self.size > MOST_BYTES:
            raise BadFile("its size is not that of its tokens")


_decoder = msgspec.msgpack.Decoder(PieceHeader)


def lead(header: PieceHeader) -> bytes:
    """Returns all that stands before the state."""
    body = msgspec.msgpack.encode(header)
    return _LEAD.pack(MAGIC, len(body), zlib.crc32(body)) + body


def write(path: Path, header: PieceHeader, data: Bytes) -> None:
    """Writes a new file, which only its owner may read; raises `OSError`. One that is there already is an error."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    with os.fdopen(number, "wb", buffering=0) as file:
        for part in (memoryview(lead(header)), data.data):
            while part:
                part = part[file.write(part) :]


def read_header(path: Path, key: str) -> PieceHeader:
    """Reads what a file says of its piece; raises `BadFile` or `OSError`."""
    number = os.open(path, _FLAGS)
    try:
        return _header(number, key)[0]
    finally:
        os.close(number)


def read(path: Path, key: str, text: bytes, start: int) -> tuple[StateLayout, Bytes]:
    """Reads the state of a piece; raises `BadFile` or `OSError`."""
    number = os.open(path, _FLAGS)
    try:
        header, at = _header(number, key)
        if header.text != text or header.start != start:
            raise BadFile("it has other tokens")
        data = np.empty(header.size, np.uint8)
        view, done = data.data, 0
        while done < len(view):
            count = os.preadv(number, [view[done:]], at + done)
            if not count:
                raise BadFile("it is cut off")
            done += count
        if zlib.crc32(data.data) != header.crc:
            raise BadFile("its state is damaged")
        return header.layout, data
    finally:
        os.close(number)


def _header(number: int, key: str) -> tuple[PieceHeader, int]:
    """Returns the header of an open file, and where the state begins."""
    first = os.pread(number, 16 << 10, 0)
    if len(first) < _LEAD.size:
        raise BadFile("it is cut off")
    magic, length, crc = _LEAD.unpack_from(first)
    if magic != MAGIC or length > LONGEST_HEADER:
        raise BadFile("it has another form")
    body = first[_LEAD.size : _LEAD.size + length]
    if len(body) < length:
        body += os.pread(number, length - len(body), len(first))
    if len(body) != length or zlib.crc32(body) != crc:
        raise BadFile("its header is damaged")
    try:
        header = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadFile("its header is damaged") from error
    header.check(key)
    if os.fstat(number).st_size != _LEAD.size + length + header.size:
        raise BadFile("it is cut off, or longer than it says")
    return header, _LEAD.size + length
