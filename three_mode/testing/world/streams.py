"""Stream sockets between the processes of a world, in place of Unix sockets: bytes in order, and an end."""

import selectors
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from three_mode.testing.world.links import Parts, WorldLink
from three_mode.testing.world.loop import SimulatedFile

if TYPE_CHECKING:
    from three_mode.testing.world.processes import WorldProcess

_UCRED = struct.Struct("3i")


class StreamSocket:
    """One end of a connection. `readable()` is called when something has come."""

    def __init__(self, process: "WorldProcess") -> None:
        self._process = process
        world = process.simulation
        self.fd = SimulatedFile(world.next_file())
        self.readable: Callable[[], None] = self._tell_loop
        self._peer: StreamSocket
        self._way: WorldLink
        self._come = bytearray()
        self._at_end = self.closed = False
        process.sockets[self] = None

    def _tell_loop(self) -> None:
        self._process.loop.readable(self.fd)

    @classmethod
    def pair(cls, one: "WorldProcess", other: "WorldProcess") -> tuple["StreamSocket", "StreamSocket"]:
        """Return both ends of a new connection between two processes."""
        here, there = cls(one), cls(other)
        here._peer, there._peer = there, here
        here._way = one.simulation.link(one, other, "stream", there._arrives)
        there._way = one.simulation.link(other, one, "stream", here._arrives)
        return here, there

    def _arrives(self, parts: Parts) -> None:
        if not self.closed:
            for part in parts:
                self._come += part
            self.readable()

    def _ends(self) -> None:
        if not self.closed:
            self._at_end = True
            self.readable()

    @property
    def has_input(self) -> bool:
        """Whether something can be read, or the end."""
        return bool(self._come) or self._at_end

    # what a socket has ------------------------------------------------------------------------------------------------
    def fileno(self) -> int:
        return self.fd

    def setblocking(self, on: bool) -> None:
        """Do nothing: it never blocks."""

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Return who is at the other end, as SO_PEERCRED says it."""
        import os

        return _UCRED.pack(self._peer._process.pid, os.getuid(), 0)

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0) -> int:
        if self.closed or self._peer.closed:
            raise BrokenPipeError("the other end has closed this connection")
        data = b"".join(buffers)
        self._way.send([data])
        return len(data)

    def recvmsg(self, size: int, *_: int) -> tuple[bytes, list[Any], int, None]:
        if self._come:
            data = bytes(self._come[:size])
            del self._come[:size]
            return data, [], 0, None
        if self._at_end:
            return b"", [], 0, None
        raise BlockingIOError

    def close(self) -> None:
        """End the connection, behind what was sent."""
        if not self.closed:
            self.closed = True
            self._process.sockets.pop(self, None)
            self._way.end(self._peer._ends)

    def cut(self) -> None:
        """End with the process: what it had written is in the kernel, and arrives."""
        self.closed = True
        self._way.end(self._peer._ends)


class StreamListener:
    """A listening socket."""

    def __init__(self, process: "WorldProcess", readable: Callable[[], None] = lambda: None) -> None:
        self.process, self.readable = process, readable
        self._waiting: deque[StreamSocket] = deque()
        self.closed = False
        process.sockets[self] = None

    def connect(self, process: "WorldProcess") -> StreamSocket:
        """Connect a process to it; ConnectionRefusedError where it is closed."""
        if self.closed:
            raise ConnectionRefusedError("nobody listens")
        theirs, ours = StreamSocket.pair(process, self.process)
        self._waiting.append(ours)
        process.simulation.schedule.after(50e-6, lambda: self.readable())
        return theirs

    @property
    def has_input(self) -> bool:
        """Whether somebody waits to be accepted."""
        return bool(self._waiting)

    def accept(self) -> tuple[StreamSocket, None]:
        if not self._waiting:
            raise BlockingIOError
        return self._waiting.popleft(), None

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True
        self.process.sockets.pop(self, None)
        for waiting in self._waiting:
            waiting.close()
        self._waiting.clear()

    def cut(self) -> None:
        """End with the process."""
        self.closed = True


class StreamSelector:
    """Selector over stream sockets: what can be read is ready, and all can be written.

    `wake()` is called when something can be read.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj.fileno(), events, data)
        fileobj.readable = self._wake
        if fileobj.has_input:
            self._wake()
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now, in the order of registration."""
        found = []
        for fileobj, key in self._keys.items():
            events = selectors.EVENT_READ if fileobj.has_input else 0
            events |= key.events & selectors.EVENT_WRITE
            if events:
                found.append((key, events))
        return found

    def close(self) -> None:
        self._keys.clear()
