"""Links: how frames travel from process to process: in order, with delays, and lost only where the bus allows it."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from three_mode.testing.world.schedule import Schedule
from three_mode.testing.world.trace import WorldTrace

Parts = Sequence[bytes]


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """How long frames travel in a world. Times are in seconds."""

    shortest: float = 20e-6
    """Seconds that each frame travels at least."""
    usual: float = 200e-6
    """Seconds that it travels beyond that, on average."""
    rarely: float = 0.01
    """Share of frames that travel `long` on average."""
    long: float = 5e-3
    """Seconds of those."""


AT_ONCE = Delays(shortest=0.0, usual=0.0, rarely=0.0, long=0.0)
"""What is written to a socket of the same machine is there for its reader at once, whenever that one looks."""


class Weather:
    """What faults do to all links of a world at the moment."""

    def __init__(self) -> None:
        self.slower = 1.0
        """Factor of all delays."""
        self.lost = 0.0
        """Share of the frames lost that may be lost."""
        self.cut: dict[frozenset[str], float] = {}
        """Two nodes that do not hear each other -> until when."""


class WorldLink:
    """One way between two processes: frames arrive in the order in which they were sent, each after a delay.

    `arrive(parts)` takes them at their end.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        random: Random,
        delays: Delays,
        weather: Weather,
        trace: WorldTrace,
        arrive: Callable[[Parts], None],
    ) -> None:
        self.name, self._schedule, self._random, self._delays = name, schedule, random, delays
        self._weather, self._trace, self._arrive = weather, trace, arrive
        self._under_way: deque[Parts] = deque()
        self._last = 0.0
        self._closing: Callable[[], None] | None = None
        self.closed = False

    def send(self, parts: Parts) -> None:
        """Send a frame."""
        if self.closed:
            return
        self._under_way.append(parts)
        self._schedule.at(self._next(), self._come)

    def may_lose(self) -> bool:
        """Return whether a frame that may be lost is lost now."""
        lost = self._weather.lost
        return lost > 0.0 and self._random.random() < lost

    def _next(self) -> float:
        """Return when what is sent now arrives."""
        delays, random = self._delays, self._random
        if delays is AT_ONCE:
            return self._schedule.time()
        mean = delays.long if random.random() < delays.rarely else delays.usual
        travels = (delays.shortest - mean * _log(random.random())) * self._weather.slower
        self._last = max(self._last + 1e-9, self._schedule.time() + travels)
        return self._last

    def _come(self) -> None:
        if self._under_way:
            parts = self._under_way.popleft()
            self._trace.frame(self._schedule.now, self.name, "frame", parts)
            self._arrive(parts)

    def end(self, closed: Callable[[], None]) -> None:
        """Send nothing more, and call `closed` at the other end behind all that was sent."""
        if not self.closed:
            self.closed = True
            self._closing = closed
            self._schedule.at(self._next(), closed)

    def lose_rest(self) -> None:
        """Lose the last frames that are under way, some of them or all: their sender was killed with them."""
        self.closed = True
        if self._under_way:
            for _ in range(self._random.randint(0, len(self._under_way))):
                self._under_way.pop()

    def drop(self) -> None:
        """Lose all that is under way."""
        self.closed = True
        self._under_way.clear()


def _log(value: float) -> float:
    from math import log

    return log(value) if value > 0.0 else -30.0
