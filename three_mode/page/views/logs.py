"""Log records of the program and its hosts, kept by the orchestrator while somebody looks."""

import time
from collections.abc import Sequence

from three_mode.agents.wire.watching import LogsOrder
from three_mode.page.kept_rows import KeptRows
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem

_BETWEEN = "what was logged between this and the line before is not kept: nobody looked, or the program began anew"


class LogsView:
    """The list of log records. A page gets what is kept, and then what is new."""

    name = "logs"
    every = 0.5

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system
        self._rows = KeptRows(self.name)
        self._began, self._after, self._lost = 0.0, 0, 0

    async def tell(self, readers: Sequence[PageReader]) -> None:
        report = await self._system.logs(LogsOrder(self._began, self._after))
        if report.began != self._began and len(self._rows):
            self._rows.add((time.time(), 0, "", "", "", _BETWEEN, "", ""))
        self._began, self._after = report.began, report.last
        self._lost += report.lost
        for one in report.records:
            self._rows.add((one.when, one.level, one.logger, one.host, one.agent, one.text, one.place, one.traceback))
        self._rows.tell(readers, lost=self._lost)

    def left(self) -> None:
        """The orchestrator stops keeping records by itself."""
