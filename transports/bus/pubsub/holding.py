"""A writer that a RELIABLE reader holds up: look again soon, and past the deadline go on without the slowest."""

import asyncio
import time
from collections.abc import Callable

RETRY = 0.0005
AT_ONCE = 0.0002  # a reader that is not far behind makes room before a timer would fire


class Holding:
    def __init__(self, within: float, retry: Callable[[], None], evict_slowest: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._within = within
        self._retry = retry
        self._evict_slowest = evict_slowest
        self.since = 0.0  # when the first look was in vain; 0: nothing is held up
        self._timer: asyncio.Handle | None = None

    def held_up(self) -> None:
        """There was no room. `retry` is called soon."""
        now = time.monotonic()
        if not self.since:
            self.since = now
        elif now - self.since > self._within:
            self._evict_slowest(now - self.since)
            self.since = now
        if self._timer is None:
            if now - self.since < AT_ONCE:
                self._timer = self._loop.call_soon(self._again)
            else:
                self._timer = self._loop.call_later(RETRY, self._again)

    def _again(self) -> None:
        self._timer = None
        self._retry()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
