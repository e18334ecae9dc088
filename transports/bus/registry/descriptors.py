"""Descriptors with an owner: the file closes when nothing refers to the descriptor any more.

The registry passes descriptors of members on. A member may withdraw a file while an answer that carries it waits, so
the answer holds the file too: a bare number might be closed by then, or already be the number of another file.
"""

import os
from collections.abc import Callable


class Descriptor(int):
    """Number of an open file that this object owns: with the last reference to the object, the file is closed."""

    __slots__ = ()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound now: modules end before daemon threads
        close(self)


def duplicate(fd: int) -> int:
    """Return a descriptor that stays open after the caller has closed `fd`: `fd` itself if it is owned, else a copy."""
    return fd if isinstance(fd, Descriptor) else Descriptor(os.dup(fd))
