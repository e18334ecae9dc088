"""Deadlines: many of them on one timer. Each is rounded up to a tick, so adding and discarding are dict operations."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from typing import Any

TICK = 0.01  # seconds
LONGEST = 1e9  # seconds


def check_seconds(within: float) -> None:
    """Raise ValueError for a time that no clock reaches: a wait for `nan` seconds would not end."""
    if math.isnan(within):
        raise ValueError(f"`within` is a number of seconds, not {within}")


class Deadlines:
    """Deadlines of one kind: `expired(key)` is called soon after a key's deadline, unless the key was discarded."""

    def __init__(self, expired: Callable[[Any], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expired = expired
        self._ticks: dict[int, dict[Hashable, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def add(self, key: Hashable, deadline: float) -> int:
        """Add a deadline, on time.monotonic(); return its tick, which `discard` needs."""
        tick = int(deadline / TICK) + 1
        keys = self._ticks.get(tick)
        if keys is None:
            keys = self._ticks[tick] = {}
            if self._timer is None or tick < self._timer_tick:
                self._arm(tick)
        keys[key] = None
        return tick

    def discard(self, key: Hashable, tick: int) -> None:
        """Remove a deadline."""
        keys = self._ticks.get(tick)
        if keys is not None:
            keys.pop(key, None)

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = self._loop.call_later(max(0.0, tick * TICK - time.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = int(time.monotonic() / TICK)
        for tick in sorted(t for t in self._ticks if t <= now):
            for key in self._ticks.pop(tick, ()):  # gone, if a callback closed this
                self._expired(key)
        for tick in [t for t, keys in self._ticks.items() if not keys]:
            del self._ticks[tick]
        if self._ticks and self._timer is None:
            self._arm(min(self._ticks))

    def close(self) -> None:
        """Remove all deadlines."""
        if self._timer is not None:
            self._timer.cancel()
        self._ticks.clear()
