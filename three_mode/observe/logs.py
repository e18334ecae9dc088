"""Structured logs on the standard library: one event a line, with the id of its call. Cheap without a handler.

    logging.getLogger("three_mode").addHandler(handler)        with JSONFormatter() for one JSON object a line

No event holds keys. No event holds the text of a conversation, unless the connection has `log_content=True`.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("three_mode.llm")
logger.addHandler(logging.NullHandler())  # a library logs nothing until a program adds a handler
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def event(level: int, name: str, request_id: str, **fields: Any) -> None:
    """Logs one event. Check `logger.isEnabledFor(level)` first where speed counts."""
    logger.log(level, name, extra={"event": name, "request_id": request_id, **fields})


class JSONFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, event, request_id and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
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
        elif record.exc_text:  # a record that came from another process
            line["traceback"] = record.exc_text
        return json.dumps(line, default=str, ensure_ascii=False)
