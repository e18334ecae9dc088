"""Start note: memory that a host shares with its orchestrator, with the name of the agent that the host is making.

It is there to be read when the host process has ended in the middle of it, or hangs in it: who was being made?
"""

import mmap
import os
import struct
import tempfile
from typing import NamedTuple

_LENGTH = struct.Struct("<H")
_SIZE = mmap.PAGESIZE
_LONGEST = _SIZE - _LENGTH.size  # bytes of a note; a longer one is cut


class RunningStart(NamedTuple):
    """Agent whose code ran while it was made, and the part of it."""

    agent: str
    hook: str
    """`__init__` or `started`."""

    def __str__(self) -> str:
        return f"{self.agent}.{self.hook}"


class StartNote:
    """One page of shared memory: the start that runs now, or none. `fd`: the file that both processes map."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, _SIZE)

    def begin(self, agent: str, hook: str) -> None:
        """Note that the code of an agent that is being made runs from now on."""
        text = f"{agent}\0{hook}".encode()[:_LONGEST]
        self._page[: _LENGTH.size + len(text)] = _LENGTH.pack(len(text)) + text

    def end(self) -> None:
        """Note that this code runs no longer."""
        self._page[: _LENGTH.size] = b"\0\0"

    def read(self) -> RunningStart | None:
        """Return the start that runs now, or ran when the process ended."""
        (length,) = _LENGTH.unpack_from(self._page)
        if not length:
            return None
        text = self._page[_LENGTH.size : _LENGTH.size + length].decode(errors="replace")
        agent, _, hook = text.partition("\0")
        return RunningStart(agent, hook)

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()


def new_file() -> int:
    """Return the descriptor of a new file for a note. It has no name, and is gone with its last user."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("three-mode-start")
    else:  # not Linux
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd
