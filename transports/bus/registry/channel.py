"""Unix stream socket that carries registry messages and file descriptors, without blocking and without an event loop.

The owner of a UnixChannel calls `receive` when the socket is readable and `flush` when it is writable. Messages that
cannot be sent at once are queued up to a limit. A peer that lets the queue fill is disconnected: the registry waits for
no peer.
"""

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence

from transports.bus.errors import BadFrame
from transports.bus.registry.descriptors import duplicate
from transports.bus.registry.wire import FDS_LIMIT, HEADER, MESSAGE_LIMIT

_UCRED = struct.Struct("3i")
_INT = array.array("i").itemsize
QUEUE_BYTES = 16 * 1024 * 1024  # that wait for one peer
QUEUE_FDS = 1024  # descriptors that wait for one peer: the rings of all members of a full bus
_READ_BYTES = 64 * 1024  # a larger buffer would be mapped and unmapped by each read
_READS = 256  # in one turn: a flood from one peer must not starve the others


def peer_credentials(sock: socket.socket) -> tuple[int, int]:
    """Return (pid, uid) of the process at the other end, as the kernel saw it connect."""
    pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid


class UnixChannel:
    """Connection between a member and the registry, at either end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.scarce = False
        """Whether the message that `receive` yielded last came without its descriptors: this process has no room."""
        self._cut = False  # some descriptors of the next message that has any did not come
        self.limit = MESSAGE_LIMIT
        """Bytes of the largest message that is received."""
        self._incoming = bytearray()
        self._unwanted = 0  # bytes still to come of a message that is too long, which are dropped
        self._fds: deque[int] = deque()
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()  # each message with its descriptors, which are owned
        self._queued = self._queued_fds = 0

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether any message waits to be sent."""
        return bool(self._outgoing)

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send or queue a message; one that has to wait holds its descriptors.

        Raises OSError if the peer has gone, and OverflowError if it does not read.
        """
        if not self._outgoing:
            sent = self._send_some(data, fds)
            if sent == len(data):
                return
            data, fds = data[sent:], (() if sent else fds)
        if self._queued + len(data) > QUEUE_BYTES:
            raise OverflowError(f"the peer does not read: {self._queued} bytes are waiting for it")
        if self._queued_fds + len(fds) > QUEUE_FDS:
            raise OverflowError(f"the peer does not read: {self._queued_fds} file descriptors are waiting for it")
        self._outgoing.append((data, [duplicate(fd) for fd in fds]))
        self._queued += len(data)
        self._queued_fds += len(fds)

    def flush(self) -> None:
        """Send as much of what waits as the socket takes."""
        while self._outgoing:
            data, fds = self._outgoing[0]
            sent = self._send_some(data, fds)
            if sent:
                self._queued_fds -= len(fds)
                fds.clear()
            self._queued -= sent
            if sent < len(data):
                self._outgoing[0] = (data[sent:], fds)
                return
            self._outgoing.popleft()

    def _send_some(self, data: bytes, fds: Sequence[int]) -> int:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            return self.sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive(self) -> Iterator[tuple[bytes, list[int]]]:
        """Yield messages and descriptors, which the caller then owns; EOFError at the end, BadFrame for garbage.

        A message comes without its descriptors, and `scarce` is set, if this process may open no more files.
        """
        at_end = False
        for _ in range(_READS):
            try:
                data, ancillary, flags, _ = self.sock.recvmsg(
                    _READ_BYTES, socket.CMSG_SPACE(FDS_LIMIT * _INT), socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                at_end = True
                break
            came = 0
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(payload[: len(payload) - len(payload) % _INT])
                    self._fds.extend(received)
                    came += len(received)
            if flags & socket.MSG_CTRUNC and came < FDS_LIMIT:  # the kernel had no number for the others
                self._cut = True
            elif flags & socket.MSG_CTRUNC or len(self._fds) > 4 * FDS_LIMIT:
                raise BadFrame("more file descriptors than a message may carry")
            size = len(data)
            if not data:
                at_end = True
                break
            if self._unwanted > 0:
                data = self._without_unwanted(data)
            self._incoming += data
            yield from self._messages()
            if size < _READ_BYTES and not ancillary:
                break  # all is read; with descriptors, a read ends early
        if at_end:
            raise EOFError

    def _without_unwanted(self, data: bytes) -> bytes:
        """Drop bytes of a message that is too long; raise BadFrame at its end, so that its sender can read why."""
        self._unwanted -= len(data)
        if self._unwanted <= 0:
            raise self._too_long()
        return b""

    def _too_long(self) -> BadFrame:
        return BadFrame(f"a message is announced that is longer than the limit of {self.limit} bytes")

    def _messages(self) -> Iterator[tuple[bytes, list[int]]]:
        while len(self._incoming) >= HEADER.size:
            size, count = HEADER.unpack_from(self._incoming)
            if size > self.limit:
                self._unwanted = HEADER.size + size - len(self._incoming)
                self._incoming.clear()
                if size > MESSAGE_LIMIT or self._unwanted <= 0:
                    raise self._too_long()
                return
            if len(self._incoming) < HEADER.size + size:
                return
            self.scarce = self._cut and count > len(self._fds)
            if self.scarce:
                self._cut = False
                self._close_received()
            elif count > len(self._fds):
                raise BadFrame(f"{count} file descriptors are announced, {len(self._fds)} came")
            body = bytes(self._incoming[HEADER.size : HEADER.size + size])
            del self._incoming[: HEADER.size + size]
            yield body, [] if self.scarce else [self._fds.popleft() for _ in range(count)]

    def _close_received(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def close_after_fork(self) -> None:
        """Close the socket in the child of a fork; the connection stays the parent's."""
        self.sock.close()

    def close(self) -> None:
        """Close the socket, and all descriptors that were not handed on."""
        self.sock.close()
        self._close_received()
        self._outgoing.clear()
