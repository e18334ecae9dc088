"""Page of timestamps that all processes of a benchmark share, and the processes."""

import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

_STAMP = struct.Struct("<q")
PAYLOAD = {"id": 123456, "title": "what happened today", "tags": ["a", "b"], "score": 0.5, "body": "x" * 30}


class Board:
    """Shared page: each process stamps the time at which its last handler ran, and that of its first one."""

    def __init__(self, slots: int, fd: int = -1) -> None:
        self.slots = slots
        self.fd = fd if fd >= 0 else os.memfd_create("board", 0)
        if fd < 0:
            os.ftruncate(self.fd, 16 * slots)
        self._page = mmap.mmap(self.fd, 16 * slots)
        self._all = struct.Struct(f"<{slots}q")

    def clear(self) -> None:
        """Clears all slots."""
        self._page[:] = bytes(16 * self.slots)

    def stamp(self, slot: int, value: int = 0) -> None:
        """Stamps a slot with the current time, or with `value`, in nanoseconds of the monotonic clock."""
        _STAMP.pack_into(self._page, 8 * slot, value or time.monotonic_ns())

    def stamp_first(self, slot: int) -> None:
        """Stamps that the first handler of a process runs now."""
        _STAMP.pack_into(self._page, 8 * (self.slots + slot), time.monotonic_ns())

    def first(self) -> int:
        """Oldest stamp of a first handler, once all slots are stamped."""
        oldest: int = min(self._all.unpack_from(self._page, 8 * self.slots))
        return oldest

    def read(self, slot: int) -> int:
        """Stamp of a slot; 0 where there is none."""
        value: int = _STAMP.unpack_from(self._page, 8 * slot)[0]
        return value

    def last(self, within: float, nap: float = 0.001) -> int:
        """Newest stamp once all slots are stamped; sleeps `nap` seconds between two reads."""
        deadline = time.monotonic() + within
        while True:
            time.sleep(nap)
            stamps = self._all.unpack_from(self._page)  # one short read: it takes a core from the readers
            if all(stamps):
                newest: int = max(stamps)
                return newest
            if time.monotonic() > deadline:
                missing = sum(not stamp for stamp in stamps)
                raise TimeoutError(f"{missing} of {self.slots} readers saw nothing within {within:g} s")


class Children:
    """Processes of a benchmark, which end with it."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[Any]] = []

    def start(self, module: str, arguments: Sequence[object], fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Starts `python -m module` with arguments; passes on file descriptors."""
        command = [sys.executable, "-m", module, *map(str, arguments)]
        child = subprocess.Popen(command, pass_fds=fds)
        self._children.append(child)
        return child

    def adopt(self, child: subprocess.Popen[Any]) -> None:
        """Adds a process that is running already."""
        self._children.append(child)

    @property
    def pids(self) -> list[int]:
        """Ids of the processes."""
        return [child.pid for child in self._children]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            with child:  # waits, and closes its pipes
                pass
