"""Log records of hosts, given to the `logging` of this program."""

import logging

from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.logs import LogLines

log = logging.getLogger("three_mode.agents")
_lines = decoder_for(LogLines)


def handle(raw: bytes) -> None:
    """Give records to the loggers of their names, as `levels` and handlers of this program say."""
    batch: LogLines = _lines(raw)
    for line in batch.lines:
        logger = logging.getLogger(line.logger)
        if logger.isEnabledFor(line.level):
            logger.handle(line.record(batch.host, batch.pid))
    if batch.dropped:
        log.warning("%d log records of %s were dropped: it logs faster than they are taken", batch.dropped, batch.host)
