"""Structured logs on the standard library: one event a line, each with the id of its call. Free where nobody listens.

    logging.getLogger("three_mode").addHandler(handler)        with JSONFormatter() for one JSON object a line

Keys are in no event. The words of a conversation are in none either, unless the connection is made with `log_content=True`.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("three_mode.llm")
logger.addHandler(logging.NullHandler())  # a library says nothing until a program wants to hear it
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def event(level: int, name: str, request_id: str, **fields: Any) -> None:
    """Call it behind `logger.isEnabledFor(level)` where speed counts."""
    logger.log(level, name, extra={"event": name, "request_id": request_id, **fields})


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, request_id and whatever the event has."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
