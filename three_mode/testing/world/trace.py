"""Trace of a world: what happened, in order. Its digest is the same whenever the same seed runs the same code."""

import hashlib
import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

KEPT = 2000  # of the last events, for people
_HEAD = struct.Struct("<dI")


class TraceEvent(NamedTuple):
    """One thing that happened in a world."""

    when: float
    """Seconds since the world began."""
    where: str
    """The process, or the way between two: `node-1 > host-2`."""
    what: str
    """What happened there."""

    def __str__(self) -> str:
        return f"{self.when:12.6f}  {self.where}: {self.what}"


class WorldTrace:
    """Trace of one run. All that happens goes into the digest, the last events can be read."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._events: deque[tuple[float, str, str, int]] = deque(maxlen=KEPT)
        self.frames = 0
        """Frames that came to where they were sent."""

    def frame(self, when: float, way: str, what: str, parts: Sequence[bytes]) -> None:
        """Note a frame that has come to its receiver."""
        self.frames += 1
        size = sum(map(len, parts))
        self._hash.update(_HEAD.pack(when, size) + way.encode())
        for part in parts:
            self._hash.update(part)
        self._events.append((when, way, what, size))

    def note(self, when: float, where: str, what: str) -> None:
        """Note something that happened to a process."""
        self._hash.update(_HEAD.pack(when, 0) + f"{where}\0{what}".encode())
        self._events.append((when, where, what, -1))

    @property
    def digest(self) -> str:
        """Digest of all that happened so far, to the byte."""
        return self._hash.hexdigest()

    @property
    def events(self) -> list[TraceEvent]:
        """The last events, the oldest first."""
        return [
            TraceEvent(when, where, what if size < 0 else f"{what}, {size} bytes")
            for when, where, what, size in self._events
        ]
