"""Recorder: a journal that writes a recording, one append a record, so that the processes of a run share one file."""

import asyncio
import errno
import logging
import mmap
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import (
    HEAD,
    MAGIC,
    Did,
    Ended,
    Event,
    Got,
    Made,
    RecordingEnd,
    pack,
    pack_end,
    unpack_end,
)
from three_mode.agents.recording.journaled import BaseJournal
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.messages import encode_error

log = logging.getLogger("three_mode.agents")


def begin(path: str) -> None:
    """Create the file of a recording; ConfigurationError if it is there already."""
    try:
        with Path(path).open("xb", buffering=0) as file:
            try:
                if file.write(HEAD) != len(HEAD):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())  # the slot of its end has a place on the disk from now on
            except OSError:
                Path(path).unlink()
                raise
    except OSError as error:
        raise ConfigurationError(f"the recording {path} cannot be begun: {error}", hint="choose another file") from None


class Recorder(BaseJournal):
    """Journal that writes what agents do into a file.

    Where the file takes no more, because the disk is full, the recording ends and the run goes on: an error is logged
    once, and the file says where the recording ends, which ends it for the other processes of the run too.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        head = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._head = mmap.mmap(head, len(HEAD), prot=mmap.PROT_READ)
        finally:
            os.close(head)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, event: Event) -> None:
        if self._fd is None:
            return
        if self._head[len(MAGIC)]:
            end = unpack_end(self._head[:])
            self._end("another process could not write: " + (end.why if end is not None else ""))
            return
        data, written, why = pack(event), 0, "only a part of a record could be written"
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            why = error.strerror or str(error)
        if written < len(data):
            self._mark_end(why, written)
            self._end(why)

    def _mark_end(self, why: str, written: int) -> None:
        """Write into the file that it ends before the record of which only `written` bytes were written."""
        assert self._fd is not None
        try:
            behind = os.lseek(self._fd, 0, os.SEEK_CUR) if written else os.fstat(self._fd).st_size
            slot = pack_end(RecordingEnd(time.time(), behind - written, why))
            with open(self._path, "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), slot, len(MAGIC))
        except OSError as error:
            log.error("%s: nor can its end be written: %s", self._path, error)

    def _end(self, why: str) -> None:
        self.close()
        log.error("the recording %s ends here, and the run goes on: %s", self._path, why)

    async def waited(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        try:
            result = await perform()
        except ThreeModeError as error:
            self._did(agent, turn, kind, what, encode(encode_error(error)), False)
            raise
        except asyncio.CancelledError:
            self._did(agent, turn, kind, what, b"", False)
            raise
        self._did(agent, turn, kind, what, result, True)
        return result

    def at_once(self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], bytes]) -> bytes:
        try:
            result = perform()
        except ThreeModeError as error:
            self._did(agent, turn, kind, what, encode(encode_error(error)), False)
            raise
        self._did(agent, turn, kind, what, result, True)
        return result

    async def parts(
        self, agent: str, turn: int, kind: str, what: bytes, perform: Callable[[], Any]
    ) -> AsyncIterator[bytes]:
        self._did(agent, turn, kind, what, b"", True)
        try:
            async with aclosing(perform()) as parts:
                async for part in parts:
                    self._did(agent, turn, "part", what, part, True)
                    yield part
        except ThreeModeError as error:
            self._did(agent, turn, "part", what, encode(encode_error(error)), False)
            raise
        self._did(agent, turn, "end", what, b"", True)

    def _did(self, agent: str, turn: int, kind: str, what: bytes, result: bytes, good: bool) -> None:
        self._write(Did(agent, time.time(), turn, kind, what, result, good))

    def made(self, agent: str, order: SpawnOrder, seed: int) -> None:
        self._write(Made(agent, time.time(), order.target, order.init, seed))

    def got(self, agent: str, turn: int, handler: str, call: bytes, heard: bool, streams: bool, sender: str) -> None:
        self._write(Got(agent, time.time(), turn, handler, call, heard, streams, sender))

    def ended(self, agent: str, turn: int, outcome: str, content: bytes) -> None:
        self._write(Ended(agent, time.time(), turn, outcome, content))
