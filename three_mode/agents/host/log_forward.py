"""Log records of a host: they go to the `logging` of its orchestrator's program, in a bounded queue."""

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext

from three_mode.agents.handlers.codec import encode
from three_mode.agents.wire.logs import LogLine, LogLines
from three_mode.agents.wire.orders import ORCHESTRATOR, host_name
from transports.bus import Bus, BusError, Encoded

WAITING = 2000  # records that may wait; further ones are dropped and counted
_BATCH = 100  # records in one message
_PAUSE = 0.02  # seconds between messages: a flood of records must not keep the orchestrator from its work


class LogForwarder(logging.Handler):
    """Handler of the root logger of a host. Records wait until the host is on the bus."""

    def __init__(self, label: str, waiting: int = WAITING) -> None:
        super().__init__()
        self._label, self._limit = label, waiting
        self._waiting: deque[LogLine] = deque()
        self._dropped = 0
        self._bus: Bus | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: asyncio.Task[None] | None = None
        self._woken = self._closing = self._ended = False

    def install(self, levels: Mapping[str, int]) -> None:
        """Become the handler of this process, and give its loggers the levels that they have in the program."""
        logging.getLogger().addHandler(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

    def connect(self, bus: Bus) -> None:
        """Send what waits, and what comes, over the bus. To be called on its loop."""
        self._bus, self._loop = bus, asyncio.get_running_loop()
        self._wake()

    def _in_child(self) -> None:
        """Print, in a forked child: what waits is its parent's, and the bus too."""
        self._waiting.clear()
        self._ended = True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, from any thread; drop it if too many wait."""
        if len(self._waiting) >= self._limit:
            self._dropped += 1
            return
        try:
            self._waiting.append(LogLine.of(record))
        except Exception:  # noqa: BLE001  # whatever is in a record
            self.handleError(record)
            return
        if self._ended:
            self._print_rest()
        elif self._loop is not None and not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop has ended
                self._print_rest()

    def _wake(self) -> None:
        self._woken = False
        if self._sending is None and self._loop is not None and (self._waiting or self._dropped):
            self._sending = self._loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        assert self._bus is not None
        try:
            while self._waiting or self._dropped:
                lines = tuple(self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting))))
                with self.lock or nullcontext():
                    dropped, self._dropped = self._dropped, 0
                batch = Encoded(encode(LogLines(self._label, os.getpid(), lines, dropped)))
                try:
                    await self._bus.send(ORCHESTRATOR, batch, topic="log", sender=host_name(self._label))
                except BusError:
                    for line in lines:
                        _print(line, self._label)
                if self._waiting and not self._closing:
                    await asyncio.sleep(_PAUSE)
        finally:
            self._sending = None

    async def close_on_loop(self, within: float) -> None:
        """Send what waits, for at most `within` seconds; print what could not be sent, and what comes later."""
        self._closing = True
        self._wake()
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=within)
        self._ended = True
        self._print_rest()

    def close(self) -> None:
        """Print what waits: the process ends without having been on the bus."""
        self._print_rest()
        super().close()

    def _print_rest(self) -> None:
        while self._waiting:
            _print(self._waiting.popleft(), self._label)


def _print(line: LogLine, label: str) -> None:
    """Print a record that cannot reach the orchestrator: nothing is lost in silence."""
    text = f"{label}: {logging.getLevelName(line.level)}: {line.logger}: {line.message}"
    sys.stderr.write(f"{text}\n{line.traceback}\n" if line.traceback else f"{text}\n")
