"""Flows: messages a second from each group to each other one. Hosts count them while somebody looks."""

import time
from collections.abc import Sequence

import msgspec

from three_mode.agents.wire.watching import WatchOrder, WatchReport
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem

Flows = dict[tuple[str, str], int]


class FlowsView:
    """Messages between groups since the last time, of all hosts together."""

    name = "flows"
    every = 1.0

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system
        self._before: dict[str, WatchReport] = {}  # host -> what it said last
        self._at = 0.0

    async def tell(self, readers: Sequence[PageReader]) -> None:
        reports = await self._system.watch(WatchOrder(flows=True))
        now = time.monotonic()
        seconds, self._at = (now - self._at) if self._at else 0.0, now
        flows = new_flows(self._before, reports)
        self._before |= {report.host: report for report in reports}  # a host that is silent may answer again
        rows = [[source, target, count] for (source, target), count in sorted(flows.items()) if count]
        text = msgspec.json.encode({"kind": "flows", "seconds": round(seconds, 3), "flows": rows if seconds else []})
        for reader in readers:
            reader.put(text)

    def left(self) -> None:
        self._before, self._at = {}, 0.0


def new_flows(before: dict[str, WatchReport], reports: Sequence[WatchReport]) -> Flows:
    """Return what has come since the reports before. A host whose counts began anew has all of them new."""
    found: Flows = {}
    for report in reports:
        last = before.get(report.host)
        known = {} if last is None or last.began != report.began else {(s, t): count for s, t, count in last.flows}
        for source, target, count in report.flows:
            key = (source, target)
            found[key] = found.get(key, 0) + count - known.get(key, 0)
    return found
