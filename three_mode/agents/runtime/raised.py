"""Exceptions that no caller sees, of `@on` handlers and of told messages: log and report them."""

import asyncio
import logging
from collections.abc import Callable

from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.orders import Raised
from three_mode.errors import HandlerFailed, ThreeModeError

log = logging.getLogger("three_mode.agents")

_REPORT_AFTER = 0.1  # seconds over which failures of one kind are gathered into one report
_KINDS_AT_MOST = 64  # reports at a time; further kinds of failures are counted together


class RaisedHandlers:
    """Log of these exceptions, and their reports: one for each group, handler and exception class in a moment.

    A broadcast that fails in 500 agents of a process is one report of 500 failures, and 500 log records.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reports: dict[tuple[str, str, str], Raised] = {}
        self.send: Callable[[tuple[Raised, ...]], None] = lambda _: None
        """Called with the reports of a moment."""

    def add(self, agent: str, handler: str, error: ThreeModeError, failure: BaseException) -> None:
        """Log the exception of a handler, and report it in a moment. `error`: what a caller would have got."""
        kind = type(failure).__name__
        if log.isEnabledFor(logging.ERROR):
            path, line, _ = wire_errors.place_of(failure) or ("", 0, "")
            text = f"{agent}.{handler} raised {kind}: {failure}"
            record = log.makeRecord(log.name, logging.ERROR, path or __file__, line, text, (), None)
            record.exc_text = (
                error.traceback if isinstance(error, HandlerFailed) else wire_errors.own_traceback(failure)
            )
            log.handle(record)
        key = (agent.partition("/")[0], handler, kind)
        if key not in self._reports and len(self._reports) >= _KINDS_AT_MOST:
            key, agent, handler = ("", "", ""), "", ""
            reason = "other failures, which are in the log"
        else:
            reason = wire_errors.text_of(error)
        if not self._reports:
            self._loop.call_later(_REPORT_AFTER, self.report)
        earlier = self._reports.get(key)
        if earlier is None:
            self._reports[key] = Raised(agent, handler, reason, 1)
        else:
            self._reports[key] = Raised(earlier.name, earlier.handler, earlier.reason, earlier.times + 1)

    def report(self) -> None:
        """Send the reports that are due, or will be."""
        reports, self._reports = tuple(self._reports.values()), {}
        if reports:
            self.send(reports)


def log_refusal(agent: str, error: ThreeModeError) -> None:
    """Log that a message without a caller does not fit its handler: its sender sees nothing of that."""
    log.error("a message to %s does not fit: %s", agent, error.message)
