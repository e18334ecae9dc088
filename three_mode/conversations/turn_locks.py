"""Locks of conversations: one turn at a time, in this process and in all that share the file.

A lock on one byte of a file beside the conversations, at the place of the conversation's id. The kernel gives it back
when its holder dies, so that a turn without an answer and without a lock is one that a crash cut.
"""

import asyncio
import fcntl
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from three_mode.conversations.schema import MEMORY
from three_mode.errors import ConversationBusy

SUFFIX = "-turns"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds between looks at another process's lock
_OPEN_FILE_LOCK = getattr(fcntl, "F_OFD_SETLK", None)  # Linux: a lock of this file object, not of the process


class TurnLocks:
    """The locks of one file."""

    def __init__(self, path: str | Path) -> None:
        self._path = None if str(path) == MEMORY else f"{path}{SUFFIX}"
        self._file: int | None = None
        self._here: dict[int, tuple[asyncio.Lock, int]] = {}  # with how many hold or want it

    @asynccontextmanager
    async def hold(self, talk: int, name: str, wait: float) -> AsyncIterator[None]:
        """Hold the lock of a conversation. Raises ConversationBusy after `wait` seconds; 0: at once."""
        lock, users = self._here.get(talk, (asyncio.Lock(), 0))
        if wait <= 0 and users:
            raise _busy(name)
        self._here[talk] = (lock, users + 1)
        try:
            await _acquire_here(lock, name, wait)
            try:
                await self._acquire_file(talk, name, wait)
                try:
                    yield
                finally:
                    self._set(talk, fcntl.F_UNLCK)
            finally:
                lock.release()
        finally:
            lock, users = self._here[talk]
            if users == 1:
                del self._here[talk]
            else:
                self._here[talk] = (lock, users - 1)

    def close(self) -> None:
        """Give back all locks."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _acquire_file(self, talk: int, name: str, wait: float) -> None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + wait, _FIRST_PAUSE
        while not self._set(talk, fcntl.F_WRLCK):
            if loop.time() >= until:
                raise _busy(name)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _set(self, talk: int, kind: int) -> bool:
        """Set or release the lock; False: another process has it."""
        if self._path is None or (kind == fcntl.F_UNLCK and self._file is None):  # in memory, or closed meanwhile
            return True
        if self._file is None:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if _OPEN_FILE_LOCK is not None:
                # struct flock of Linux: type, whence, start, length, process (0 for this kind of lock)
                fcntl.fcntl(self._file, _OPEN_FILE_LOCK, struct.pack("hhqqi4x", kind, os.SEEK_SET, talk, 1, 0))
            else:
                how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(self._file, how, 1, talk)
        except (BlockingIOError, PermissionError):
            return False
        return True


async def _acquire_here(lock: asyncio.Lock, name: str, wait: float) -> None:
    if not lock.locked():
        await lock.acquire()
        return
    try:
        async with asyncio.timeout(wait):
            await lock.acquire()
    except TimeoutError:
        raise _busy(name) from None


def _busy(name: str) -> ConversationBusy:
    return ConversationBusy(
        f"another turn of {name!r} is on its way",
        conversation=name,
        hint="wait for it, or set ConversationOptions(at_once='wait', wait=) to wait longer",
    )
