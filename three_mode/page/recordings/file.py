"""File of a recording, in blocks of records: the one place that reads it.

Opening walks over the lengths of all records, without decoding any, and keeps where each block begins. Pieces are read
with `pread`, not through a mapping: a file that is cut off while it is looked at gives an error, and kills nobody.
"""

import os
import struct
import threading
from array import array
from pathlib import Path

from three_mode.agents.recording.events import HEAD, LONGEST, first_record, unpack_end
from three_mode.errors import ConfigurationError

BLOCK = 1024  #: records of a block
_PIECE = 4 << 20  # bytes read at once; a record may be longer, and is then passed over
_SHORT = 2048  # bytes that one record is read with; a longer one is read again
_MOST_AT_ONCE = 16 << 20  # bytes of a block that is read whole; a longer one is read record by record
_length_at = struct.Struct("<I").unpack_from


class RecordingFile:
    """Records of a file, by number. A file that is still written may `grow`."""

    def __init__(self, path: str | Path) -> None:
        """Open a recording; ConfigurationError where the file is none."""
        self.path = str(path)
        self._lock = threading.Lock()
        self._descriptor = -1
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self.read_end()
        except (OSError, ValueError) as error:
            self.close()
            raise ConfigurationError(f"{path} cannot be shown: {error}") from None
        self._begins = array("Q")
        self._end = first_record(self.read(0, len(HEAD)))
        self.count = 0  #: records that are whole
        self.damage = ""  #: why nothing can be read from some place on; "" where all can be
        self.grow()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def blocks(self) -> int:
        """Blocks; the last one may have fewer records than the others."""
        return len(self._begins)

    @property
    def left_over(self) -> int:
        """Bytes behind the last whole record: one that was cut off, or is being written."""
        return max(0, self._size() - self._end)

    def read_end(self) -> str:
        """When and why the recording ended before its run; "" where it did not."""
        end = unpack_end(self.read(0, len(HEAD)))
        self._until = None if end is None else end.at
        return "" if end is None else end.why

    def read(self, at: int, count: int) -> bytes:
        """Read bytes at a place; fewer where the file ends."""
        if self._descriptor < 0:
            raise ValueError("the recording is closed")
        return os.pread(self._descriptor, count, at)

    def records_in(self, block: int) -> int:
        """Records of a block."""
        return min(BLOCK, self.count - block * BLOCK)

    def bodies(self, block: int) -> list[bytes]:
        """Read the records of a block, without their lengths."""
        begin, wanted = self._begins[block], self.records_in(block)
        end = self._begins[block + 1] if block + 1 < self.blocks else self._end
        if end - begin > _MOST_AT_ONCE:
            return [self._body(place) for place in self._places(begin, wanted)]
        data, at, found = self.read(begin, end - begin), 0, []
        for _ in range(wanted):
            following = at + 4 + _length_at(self._checked(data, at), at)[0]
            found.append(data[at + 4 : following])
            at = following
        if at > len(data):
            raise ValueError(f"{self.path} is shorter than it was")
        return found

    def body(self, number: int) -> tuple[bytes, int]:
        """Read one record without its length, and say where in the file it is."""
        block, within = divmod(number, BLOCK)
        place = self._begins[block]
        if within:
            place = self._places(place, within + 1)[-1]
        return self._body(place), place

    def grow(self) -> bool:
        """Find what was written since; return whether there is more."""
        with self._lock:
            before = self.count
            self.damage = ""
            self._walk(self._size())
            return self.count > before

    def _size(self) -> int:
        size = os.fstat(self._descriptor).st_size
        return size if self._until is None else min(size, self._until)

    def _walk(self, size: int) -> None:
        """Pass over the lengths of all records that are whole."""
        at, count, begins = self._end, self.count, self._begins
        while at + 4 <= size:
            data = self.read(at, min(_PIECE, size - at))
            place, more = 0, True
            while more:
                if len(begins) * BLOCK <= count:
                    begins.append(at + place)
                passed, place, more = _pass_over(data, place, BLOCK - count % BLOCK)
                count += passed
            at += place
            if place == 0:  # one that is longer than a piece, is not all there, or is none
                following = at + 4 + _length_at(self._checked(data, 0), 0)[0]
                if following - at - 4 > LONGEST:
                    self.damage = f"a record of {following - at - 4} bytes at {at} cannot be: nothing behind it is read"
                if self.damage or following > size:
                    break
                count, at = count + 1, following
        del begins[-(-count // BLOCK) :]  # one that was to begin
        self._end, self.count = at, count

    def _places(self, begin: int, count: int) -> list[int]:
        """Where so many records begin, from a place on."""
        data, base, at, found = b"", begin, begin, []
        for _ in range(count):
            found.append(at)
            if at + 4 > base + len(data):
                data, base = self.read(at, 1 << 17), at
            at += 4 + _length_at(self._checked(data, at - base), at - base)[0]
        return found

    def _body(self, place: int) -> bytes:
        data = self.read(place, _SHORT)
        (length,) = _length_at(self._checked(data, 0), 0)
        body = data[4 : 4 + length] if 4 + length <= len(data) else self.read(place + 4, length)
        if len(body) < length:
            raise ValueError(f"{self.path} is shorter than it was")
        return body

    def _checked(self, data: bytes, at: int) -> bytes:
        if at + 4 > len(data):
            raise ValueError(f"{self.path} is shorter than it was")
        return data


def _pass_over(data: bytes, place: int, most: int) -> tuple[int, int, bool]:
    """Pass over records that are whole: how many, the place behind them, and whether there may be more."""
    last, size, length_at = len(data) - 4, len(data), _length_at
    for passed in range(most):
        if place > last:
            return passed, place, False
        following = place + 4 + length_at(data, place)[0]
        if following > size:
            return passed, place, False
        place = following
    return most, place, True
