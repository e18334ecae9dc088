"""Totals of a connection, told after calls: at once, and then at most every quarter of a second.

To add up the totals takes as long as there are labels and models, so that not every call pays for it.
"""

import asyncio
import time

from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import ANALYTICS_UPDATE
from three_mode.events.values import AnalyticsUpdate
from three_mode.observe.metrics import Metrics
from three_mode.policies import SpendingLedger

EVERY = 0.25  # seconds


class RunningTotals:
    """Tells `AnalyticsUpdate` events; the last of a burst of calls is always counted in one."""

    def __init__(self, hub: ConnectionHub, ledger: SpendingLedger, metrics: Metrics) -> None:
        self._hub, self._ledger, self._metrics = hub, ledger, metrics
        self._told_at = -EVERY
        self._timer: asyncio.TimerHandle | None = None

    def tell_soon(self) -> None:
        """A call is over: tell the totals now, or in a while where they were told just now."""
        if self._timer is not None or ANALYTICS_UPDATE not in self._hub.wanted:
            return
        wait = self._told_at + EVERY - time.monotonic()
        if wait <= 0:
            self._tell()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self._tell)

    def flush(self) -> None:
        """Tell now what waits to be told."""
        if self._timer is not None:
            self._tell()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ANALYTICS_UPDATE not in self._hub.wanted:
            return
        self._told_at = time.monotonic()
        spent = self._ledger.spent()
        self._hub.publish(
            AnalyticsUpdate(
                time=time.time(),
                requests=spent.calls,
                errors=self._metrics.failures(),
                input_tokens=spent.usage.input_tokens,
                output_tokens=spent.usage.output_tokens,
                cached_tokens=spent.usage.cache_read_tokens,
                cost=spent.cost,
                unpriced=spent.unpriced,
            )
        )
