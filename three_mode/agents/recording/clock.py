"""A loop whose time passes by itself: whatever sleeps in a replay wakes at once, in the order in which it would have."""

import asyncio
import math
import selectors
from typing import Any


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        self.until = math.inf
        self.stuck: Any = lambda: None

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                self.stuck()  # nothing is scheduled, and nothing from outside ever comes
                return super().select(0.001)
            if self.passed + timeout > self.until:
                self.passed = max(self.passed, self.until)
                self.stuck()  # what comes next in the recording comes before this
                return ready
            self.passed += max(0.0, timeout)
        return ready


class ReplayLoop(asyncio.SelectorEventLoop):
    """`stuck` is called when nothing is left that could go on by itself."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        return self._own.passed

    def let_pass(self, until: float) -> None:
        """Time goes no further than this."""
        self._own.until = until

    def when_stuck(self, callback: Any) -> None:
        self._own.stuck = callback
