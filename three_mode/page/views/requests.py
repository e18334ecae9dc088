"""Requests that have ended, sampled in all hosts while somebody looks: the more there are, the smaller a share."""

import time
from collections.abc import Sequence

import msgspec

from three_mode.agents.wire.watching import TurnSight, WatchOrder, WatchReport
from three_mode.page.readers import PageReader
from three_mode.page.requests import RequestLog
from three_mode.page.system import WatchedSystem

_MANY = 200  # sampled turns each time: a rate that gives more of them is too high
_RAREST = 1 << 20
LastTurns = dict[str, tuple[float, int]]
"""Host -> when its counting began, and the number of the last turn that it told."""
_BEHIND = 1.0  # seconds: hosts are asked again for turns that ended so long before the last time


class RequestsView:
    """The newest sampled requests, as a list. `log` has the tree of each."""

    name = "requests"
    every = 0.5

    def __init__(self, system: WatchedSystem) -> None:
        self._system, self.log = system, RequestLog()
        self._rate = self._number = 1
        self._lost, self._since = 0, time.perf_counter()
        self._last: LastTurns = {}
        self._messages: dict[str, int] = {}

    async def tell(self, readers: Sequence[PageReader]) -> None:
        since, self._since = self._since, time.perf_counter() - _BEHIND
        reports = await self._system.watch(WatchOrder(requests=self._rate, since=since))
        turns, lost = new_turns(self._last, reports)
        self._lost += lost
        if self.log.add(turns):
            self._number += 1
        self._rate = rate_for(new_messages(self._messages, reports), self._rate)
        text = b""
        for reader in readers:
            if reader.has.get(self.name) != self._number:
                text = text or msgspec.json.encode(
                    {"kind": self.name, "rate": self._rate, "lost": self._lost, "requests": self.log.listed()}
                )
                reader.put(text)
                reader.has[self.name] = self._number

    def left(self) -> None:
        self._rate, self._lost, self._since = 1, 0, time.perf_counter()
        self._last.clear()
        self._messages.clear()
        self.log.forget_open()


def rate_for(messages: int, before: int) -> int:
    """Return of how many requests one is sampled, where so many messages come each time: a power of two."""
    rate = 1
    while messages > rate * _MANY and rate < _RAREST:
        rate *= 2
    return before if rate == before // 2 else rate  # a number that swings a little leaves the rate alone


def new_messages(last: dict[str, int], reports: Sequence[WatchReport]) -> int:
    """Return how many messages came since the last reports, which `last` has; it is brought up to date."""
    count = 0
    for report in reports:
        known = last.get(report.host, 0)
        count += report.messages - (known if known <= report.messages else 0)  # a host may count anew
        last[report.host] = report.messages
    return count


def new_turns(last: LastTurns, reports: Sequence[WatchReport]) -> tuple[list[TurnSight], int]:
    """Return the turns that were not told before, in the order in which they ended, and how many are lost.

    `last` is brought up to date.
    """
    found: list[TurnSight] = []
    lost = 0
    for report in reports:
        began, number = last.get(report.host, (0.0, 0))
        for turn in report.turns:
            before = number if began == report.began else turn.number - 1
            if turn.number > before:
                lost += turn.number - before - 1
                began, number = last[report.host] = report.began, turn.number
                found.append(turn)
    return sorted(found, key=lambda turn: turn.end), lost
