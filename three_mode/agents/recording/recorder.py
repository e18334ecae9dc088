"""Recorder: a journal that writes a recording, one append a record, so that the processes of a run share one file."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import MAGIC, Did, Ended, Event, Got, Made, pack
from three_mode.agents.recording.journaled import BaseJournal
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.messages import encode_error


def begin(path: str) -> None:
    """Create the file of a recording; ConfigurationError if it is there already."""
    try:
        with Path(path).open("xb") as file:
            file.write(MAGIC)
    except OSError as error:
        raise ConfigurationError(f"the recording {path} cannot be begun: {error}", hint="choose another file") from None


class Recorder(BaseJournal):
    """Journal that writes what agents do into a file."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the file. What a handler that was left behind still does is an error, and is in no other file."""
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _write(self, event: Event) -> None:
        data = pack(event)
        written = os.write(self._fd, data)
        if written != len(data):  # a full disk
            raise ConfigurationError(f"the recording is cut off: {written} of {len(data)} bytes could be written")

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
