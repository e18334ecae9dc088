"""Schedule: the order of all that happens in a world, in virtual time.

Each process has event loops of its own, and runs beside the others: a turn of a loop takes a moment of its process and
no time of the rest. Where several could go on, a number from the seed decides. When nothing can go on, time jumps to
what comes next.
"""

import asyncio
import heapq
import itertools
import math
import sys
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

EPOCH = 1_800_000_000.0
"""Seconds since 1970 at which each world begins."""
BEGINNING = 1_000.0
"""What `time.monotonic()` says then."""
_TURN = 20e-6  # seconds that a turn of a loop takes, at most


class Turning(Protocol):
    """An event loop, as the schedule sees it."""

    begun_at: float
    free_at: float
    ahead: float

    def due(self) -> float:
        """Return when the loop can go on; infinity where nothing is to be done."""
        ...

    def turn(self, now: float) -> None:
        """Run what is due."""
        ...


class Schedule:
    """Virtual time, the loops that take their turns in it, and events of the machine: frames that arrive, faults."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.now = BEGINNING
        """Virtual time in seconds, where no loop runs."""
        self.running: Any = None
        """The loop that runs now."""
        self.loops: list[Turning] = []
        self.turns = 0
        """Turns of loops so far."""
        self._events: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the time where the running code is: it may have slept."""
        running = self.running
        return self.now if running is None else self.now + running.ahead

    def at(self, when: float, what: Callable[..., Any], *args: Any) -> None:
        """Have `what(*args)` happen at a time, between the turns of loops."""
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), what, args))

    def after(self, seconds: float, what: Callable[..., Any], *args: Any) -> None:
        """Have `what(*args)` happen after some seconds."""
        self.at(self.time() + seconds, what, *args)

    def step(self, until: float) -> bool:
        """Let one thing happen; False where nothing is left to happen before `until`."""
        soonest, due = math.inf, []
        for loop in self.loops:
            when = max(loop.due(), loop.free_at)
            if when <= self.now:
                when = self.now
            if when < soonest:
                soonest, due = when, [loop]
            elif when == soonest and when != math.inf:
                due.append(loop)
        if self._events and self._events[0][0] <= soonest:
            when, _, what, args = heapq.heappop(self._events)
            if when > until:
                return False
            self.now = max(self.now, when)
            what(*args)
            return True
        if soonest > until:
            return False
        self.now = soonest
        self._turn(due[0] if len(due) == 1 else self._random.choice(due))
        return True

    def _turn(self, loop: Turning) -> None:
        self.turns += 1
        self.running, loop.ahead, loop.begun_at = loop, 0.0, self.now
        asyncio._set_running_loop(loop)  # type: ignore[arg-type]  # the loops of a world are event loops
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)  # type: ignore[attr-defined]
        try:
            loop.turn(self.now)
        finally:
            asyncio._set_running_loop(None)
            self.running = None
            loop.free_at = self.now + loop.ahead + _TURN * (0.1 + 0.9 * self._random.random())
            loop.ahead = 0.0
