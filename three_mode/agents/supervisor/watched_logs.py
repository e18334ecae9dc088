"""Log records of a program and its hosts, kept while somebody looks at them."""

import asyncio
import heapq
import logging
import os
import time
from collections import deque

from three_mode.agents.wire.watching import LogSight, LogsOrder, LogsReport
from three_mode.handling import current

KEPT = 1000  # records of each kind: those that warn, and all others, which would push them out
_LONGEST = 2000  # characters of a text or a traceback
_MOST_SENT = 500_000  # characters of one report
_TWICE = 16  # records that may come again, from another logger that they pass
_traceback_of = logging.Formatter().formatException


class WatchedLogs(logging.Handler):
    """Keeps the last records, from the first order until nobody has given one for a while.

    It stands beside the handlers that there are, and beside the handler of last resort: a program that has set up no
    logging prints what it printed before, and `logging.basicConfig` finds a root logger without handlers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.began = 0.0
        self._number = 0
        self._warnings: deque[LogSight] = deque(maxlen=KEPT)
        self._others: deque[LogSight] = deque(maxlen=KEPT)
        self._passed: deque[logging.LogRecord] = deque(maxlen=_TWICE)
        self._at: list[logging.Logger] = []
        self._last_resort: _LastResort | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def watching(self) -> bool:
        """Whether somebody looks."""
        return self._timer is not None

    def asked(self, order: LogsOrder) -> LogsReport:
        """Keep records for a while from now on, and return those that are new."""
        self._until = time.monotonic() + order.within
        if self._timer is None:
            self.began = time.time()
            self._timer = asyncio.get_running_loop().call_later(order.within, self._end_if_over)
        self._stand_beside()
        after = order.after if order.began == self.began else 0
        with self.lock:  # type: ignore[union-attr]  # a handler has one
            number = self._number
            records = [one for one in heapq.merge(self._warnings, self._others, key=_number) if one.number > after]
        sent, room = len(records), _MOST_SENT
        while sent and (room := room - len(records[sent - 1].text) - len(records[sent - 1].traceback)) >= 0:
            sent -= 1
        new = tuple(records[sent:])
        return LogsReport(self.began, number, new, number - after - len(new))

    def end(self) -> None:
        """Keep nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for logger in self._at:
            logger.removeHandler(self)
        self._at.clear()
        if self._last_resort is not None and logging.lastResort is self._last_resort:
            logging.lastResort = self._last_resort.former
        self._last_resort = None
        with self.lock:  # type: ignore[union-attr]  # a handler has one
            self._number = 0
            for kept in (self._warnings, self._others, self._passed):
                kept.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, from any thread."""
        if any(record is one for one in self._passed):
            return
        self._passed.append(record)
        self._number += 1
        try:
            sight = _sight(self._number, record)
        except Exception:  # noqa: BLE001  # arguments that do not fit, or an object's own __str__
            sight = LogSight(self._number, record.created, record.levelno, record.name, "", "", "cannot be read", "")
        (self._warnings if record.levelno >= logging.WARNING else self._others).append(sight)

    def _stand_beside(self) -> None:
        """Be a handler of each logger that has some. Programs may set up logging at any time."""
        found = logging.getLogger().manager.loggerDict.values()
        for logger in (logging.getLogger(), *(one for one in found if isinstance(one, logging.Logger))):
            if logger.handlers and self not in logger.handlers:
                logger.addHandler(self)
                if logger not in self._at:
                    self._at.append(logger)
            elif logger.handlers == [self]:  # those that were there are gone
                logger.removeHandler(self)
        if self._last_resort is None:
            self._last_resort = logging.lastResort = _LastResort(self, logging.lastResort)

    def _end_if_over(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            self.end()
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self._end_if_over)


class _LastResort(logging.Handler):
    """The handler of loggers that have none: keeps a record, and then does what the former one did."""

    def __init__(self, logs: WatchedLogs, former: logging.Handler | None) -> None:
        super().__init__()
        self._logs, self.former = logs, former

    def emit(self, record: logging.LogRecord) -> None:
        if self._logs.watching:  # others may have put theirs on top of this one, which then stays
            self._logs.handle(record)
        if self.former is not None and record.levelno >= self.former.level:
            self.former.handle(record)


def _number(sight: LogSight) -> int:
    return sight.number


def _sight(number: int, record: logging.LogRecord) -> LogSight:
    trace = record.exc_text or (_traceback_of(record.exc_info) if record.exc_info else "")
    return LogSight(
        number,
        record.created,
        record.levelno,
        record.name[:_LONGEST],
        "" if record.process in (None, os.getpid()) else str(record.processName),
        str(getattr(record, "agent", "") or current.get().agent)[:_LONGEST],
        record.getMessage()[:_LONGEST],
        f"{record.filename}:{record.lineno}",
        trace[-_LONGEST:],
    )
