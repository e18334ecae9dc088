"""Places: who has which slot, written into the lock file of the registry by its host.

The next host may never have heard of a member: one that joined a moment before the last host died, or all of them where
the next host is itself new. What it reads here keeps it from giving the slot of a living member to another one, with
whom that member would share the state of its readers.

    offset = 64 * slot:  0  pid, 0: the slot is free   u32
                         8  start of the process       u64, ticks since the machine started
                        16  length of the id           u8
                        17  id                         up to 47 bytes of ASCII
"""

import os
import struct
from pathlib import Path
from typing import Protocol

from transports.bus.events import MemberInfo

SLOTS = 1024  # members of a bus, at most
_RECORD = struct.Struct("<IxxxxQB47s")
_FREE = bytes(_RECORD.size)


class PlaceTable(Protocol):
    """Table of the places; `Places` says what each method does."""

    def take(self, info: MemberInfo) -> None: ...
    def free(self, slot: int) -> None: ...


class NoPlaces:
    """Table of a registry without a file: over tcp."""

    def take(self, info: MemberInfo) -> None: ...
    def free(self, slot: int) -> None: ...


class Places:
    """Table in a file. One call of the kernel writes a record: a process that is killed leaves whole ones.

    The file is opened anew: a copy of the descriptor that holds the lock would hold it too.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def take(self, info: MemberInfo) -> None:
        """Write down that a member has its slot. A disk without room costs the next host what it would read here."""
        name = info.id.encode("ascii", "replace")
        self._write(info.slot, _RECORD.pack(info.pid, started(info.pid), len(name), name))

    def free(self, slot: int) -> None:
        """Write down that a slot is free."""
        self._write(slot, _FREE)

    def has(self, info: MemberInfo) -> bool:
        """Return whether a member still has its slot: it frees it itself when it leaves."""
        try:
            return _owner(os.pread(self._file, _RECORD.size, info.slot * _RECORD.size)) == info.id
        except OSError:
            return True

    def close(self) -> None:
        """Write no more. Twice does no harm."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _write(self, slot: int, record: bytes) -> None:
        try:
            os.pwrite(self._file, record, slot * _RECORD.size)
        except OSError:
            pass


def leave_place(path: Path, slot: int, member: str) -> None:
    """Free the slot of a member that is about to leave: no registry may be there to do it."""
    try:
        table = Places(path)
    except OSError:
        return  # the bus is gone
    if table.has(MemberInfo(member, "", 0, slot)):
        table.free(slot)
    table.close()


def _owner(record: bytes) -> str:
    if len(record) != _RECORD.size:
        return ""
    _, _, length, name = _RECORD.unpack(record)
    return str(name[:length].decode("ascii", "replace"))


def read_places(file: int) -> list[MemberInfo]:
    """Return the members whose processes live, as far as the table in this file knows them; their labels are ""."""
    content = os.pread(file, SLOTS * _RECORD.size, 0)
    content = content[: len(content) // _RECORD.size * _RECORD.size]
    found = []
    for slot, (pid, since, length, name) in enumerate(_RECORD.iter_unpack(content)):
        if 0 < pid < 1 << 31 and since and since == started(pid) and name[:length].isascii():
            found.append(MemberInfo(name[:length].decode(), "", pid, slot))
    return found


def started(pid: int) -> int:
    """Return when a process of this machine started; 0 for one that is not there. Numbers of processes come again."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0
