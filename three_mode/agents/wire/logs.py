"""Log records of a host on their way to the `logging` of its orchestrator's program."""

import logging
from typing import Any

import msgspec

from three_mode.handling import current

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST = 16 * 1024  # characters of a message or traceback; of a traceback the end is kept
_EXTRAS = 32  # fields of `extra` that travel with a record
_LONGEST_EXTRA = 1024  # characters of one of them
_traceback_of = logging.Formatter().formatException


class LogLine(msgspec.Struct, frozen=True):
    """One log record, with its text complete."""

    logger: str
    level: int
    message: str
    created: float
    """Seconds since the epoch."""
    thread: str
    path: str
    line: int
    function: str
    traceback: str = ""
    extra: dict[str, str | int | float | bool] = {}
    """Fields of `extra=`; those that are no text or number are sent as text."""
    agent: str = ""
    """Agent whose handler logged it; empty: none. The record has it as `agent`, where `extra=` has no such field."""

    @classmethod
    def of(cls, record: logging.LogRecord) -> "LogLine":
        """Return what travels of a log record."""
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001  # arguments that do not fit the text
            message = f"{record.msg!r} (its arguments do not fit: {error})"
        trace = record.exc_text or (_traceback_of(record.exc_info) if record.exc_info else "")
        extra = [(key, value) for key, value in vars(record).items() if key not in _STANDARD and value is not None]
        return cls(
            record.name[:_LONGEST_EXTRA],
            record.levelno,
            message[:_LONGEST],
            record.created,
            record.threadName or "",
            record.pathname,
            record.lineno,
            record.funcName or "",
            trace[-_LONGEST:],
            {key[:_LONGEST_EXTRA]: _plain(value) for key, value in extra[:_EXTRAS]},
            current.get().agent,
        )

    def record(self, host: str, pid: int) -> logging.LogRecord:
        """Return the log record again, as one of the process `host`."""
        fields: dict[str, Any] = {
            **({"agent": self.agent} if self.agent else {}),
            **{key: value for key, value in self.extra.items() if key not in _STANDARD},
            "name": self.logger,
            "levelno": self.level,
            "levelname": logging.getLevelName(self.level),
            "msg": self.message,
            "args": (),
            "created": self.created,
            "msecs": self.created % 1 * 1000,
            "threadName": self.thread,
            "pathname": self.path,
            "filename": self.path.rpartition("/")[2],
            "module": self.path.rpartition("/")[2].removesuffix(".py"),
            "lineno": self.line,
            "funcName": self.function,
            "exc_text": self.traceback or None,
            "process": pid,
            "processName": host,
        }
        return logging.makeLogRecord(fields)


class LogLines(msgspec.Struct, frozen=True):
    """Log records of a host, in order, and how many it has dropped before them."""

    host: str
    pid: int
    lines: tuple[LogLine, ...]
    dropped: int = 0


def levels() -> dict[str, int]:
    """Return logger -> level for the loggers of this process that have one; the root's name is empty."""
    root = logging.getLogger()
    named = [(name, found) for name, found in root.manager.loggerDict.items() if isinstance(found, logging.Logger)]
    return {"": root.level, **{name: found.level for name, found in named if found.level}}


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    try:
        return str(value)[:_LONGEST_EXTRA]
    except Exception:  # noqa: BLE001  # an object's own __str__
        return f"<{type(value).__name__}>"
