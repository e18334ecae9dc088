"""Event loop of a replay: time passes by itself, so that sleepers wake at once, in the order of the recorded run."""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Selector that lets time pass where the loop would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        self.until = math.inf
        self.stuck: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                self.stuck()  # nothing is scheduled, and no file ever becomes ready
                return super().select(0.001)
            if self.passed + timeout > self.until:
                self.passed = max(self.passed, self.until)
                self.stuck()  # the next recorded event comes before the next timer
                return ready
            self.passed += max(0.0, timeout)
        return ready


class ReplayLoop(asyncio.SelectorEventLoop):
    """Event loop whose time passes by itself; see `when_stuck`."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        """Return the seconds that have passed in the replay."""
        return self._own.passed

    def let_pass(self, until: float) -> None:
        """Let time pass up to `until`, in seconds since the loop began, and no further."""
        self._own.until = until

    def when_stuck(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever nothing is left that could go on by itself."""
        self._own.stuck = callback
