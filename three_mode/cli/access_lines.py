"""Writes the access log of `three-mode serve` to standard output, on a thread of its own: a reader that stops reading
holds up no request. Lines that find no room are dropped, and their number is said.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from select import PIPE_BUF

from three_mode.cli.pipes import write_all
from three_mode.serve.access_log import log

WAITING = 10_000  # lines
_LAST_WITHIN = 1.0  # seconds that the end waits for lines that are not written yet
_AT_ONCE = 500  # lines of one write


class AccessLines(logging.Handler):
    """A handler that never waits. `output` is the number of an open file."""

    def __init__(self, output: int = 1, waiting: int = WAITING) -> None:
        super().__init__()
        self._output = output
        self._lines: Queue[str | None] = Queue(waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="access log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record.getMessage())
        except Full:
            self._dropped += 1

    def close(self) -> None:
        """Writes what waits, unless nobody reads."""
        try:
            self._lines.put(None, timeout=_LAST_WITHIN)
        except Full:
            pass
        self._thread.join(_LAST_WITHIN)
        super().close()

    def _write_all(self) -> None:
        while True:
            lines, more = self._waiting()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.insert(0, f'{{"dropped":{dropped}}}')
            try:
                for data in together(lines):
                    write_all(self._output, data)
            except OSError:
                return  # nobody reads, and nobody will: what comes is dropped
            if not more:
                return

    def _waiting(self) -> tuple[list[str], bool]:
        """The lines that wait, at least one; and whether more may come."""
        lines: list[str] = []
        line = self._lines.get()
        while line is not None:
            lines.append(line)
            if len(lines) == _AT_ONCE:
                return lines, True
            try:
                line = self._lines.get_nowait()
            except Empty:
                return lines, True
        return lines, False


def together(lines: Iterable[str]) -> Iterator[bytes]:
    """Whole lines, as many as a pipe takes in one piece: workers that share one leave each other's lines
    whole."""
    held = b""
    for line in lines:
        data = f"{line}\n".encode()
        if held and len(held) + len(data) > PIPE_BUF:
            yield held
            held = b""
        held += data
    if held:
        yield held


@contextmanager
def access_lines() -> Iterator[None]:
    """Lines of the access log go to standard output while the block runs, and nowhere else."""
    handler = AccessLines()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
        handler.close()
