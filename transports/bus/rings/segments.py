"""Shared memory: sealed memfds, so that nothing stays behind and the kernel keeps readers from writing."""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Sequence

from transports.bus.errors import BadFrame, Overloaded
from transports.bus.rings.native import BELL, HEADER, LARGE, PAGE, RING, SHARD, Segment

log = logging.getLogger("three_mode.bus.registry")
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 0x1, 0x2, 0x4, 0x10
_SCARCE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
_NAMES = {RING: "ring", PAGE: "page", BELL: "bell", LARGE: "large"}


def make(kind: int, capacity: int, owner: int = 0) -> tuple[int, Segment]:
    """Make a segment; return its descriptor and the segment. Only this process can write to it, except to a bell."""
    fd = -1
    try:
        fd = os.memfd_create(f"three-mode-{_NAMES[kind]}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, HEADER + capacity)
        segment = Segment.make(fd, kind, capacity, secrets.randbits(62) + 1, owner)
        seals = _SEAL | _SHRINK | _GROW | (0 if kind == BELL else _FUTURE_WRITE)
        fcntl.fcntl(fd, _F_ADD_SEALS, seals)
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, OSError):
            raise Overloaded(f"this process can make no more shared memory: {error}") from None
        raise
    return fd, segment


def attach(fd: int, kind: int, writable: bool = False) -> Segment:
    """Map a segment of another member, or raise BadFrame if it is not safe; the descriptor may be closed afterwards."""
    try:
        seals = fcntl.fcntl(fd, _F_GET_SEALS)
        if not seals & _SHRINK:
            raise BadFrame("a segment that its owner may shrink while it is mapped")
        return Segment.attach(fd, kind, writable)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _SCARCE:  # it says nothing of the segment
            raise Overloaded(f"this process can map no more memory: {error}") from None
        raise BadFrame(f"no segment of a bus: {error}") from None


class RingShards:
    """Bells of the registry: one bell and one eventfd for every 64 members."""

    def __init__(self) -> None:
        self._fds: list[tuple[int, int]] = []
        self._bells: list[Segment] = []

    def fds(self) -> list[tuple[int, int]]:
        """Return the descriptors of bell and eventfd of each shard."""
        return self._fds

    def ensure(self, count: int) -> None:
        """Make shards until there are so many."""
        while len(self._fds) < count:
            fd, bell = make(BELL, 0)
            try:
                self._fds.append((fd, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)))
            except OSError:
                os.close(fd)
                raise
            self._bells.append(bell)

    def adopt(self, fds: Sequence[int]) -> None:
        """Use the shards that members have already, after the registry moved."""
        for number, (bell, event) in enumerate(zip(fds[::2], fds[1::2], strict=True)):
            if number >= len(self._fds):
                segment = attach(bell, BELL, writable=True)
                own = os.dup(bell)
                try:
                    self._fds.append((own, os.dup(event)))
                except OSError:
                    os.close(own)
                    raise
                self._bells.append(segment)

    def free(self, slot: int) -> None:
        """Clear the place of a member that has gone."""
        if slot // SHARD < len(self._bells):
            try:
                self._bells[slot // SHARD].forget_sleeper(slot % SHARD)
            except ValueError as error:  # every member of the shard may write to its bell
                log.warning("the bell of shard %d is spoiled: %s", slot // SHARD, error)

    def close(self) -> None:
        """Close all descriptors."""
        for pair in self._fds:
            for fd in pair:
                os.close(fd)
        self._fds.clear()
        self._bells.clear()
