"""How long a reader looks for the next message before it lies down.

Waking a process costs both sides tens of microseconds, and more where the processor itself has to be woken; looking for a
few costs nobody anything while nobody else wants the core. So a reader whose sleeps turn out short stays up longer next
time, one whose sleeps are long does not stay up at all: a conversation of questions and answers runs without a doorbell,
and an idle process costs nothing.
"""

LOOK = 5_000  # nanoseconds in one go: what else this event loop has to do waits no longer
_FIRST = 20e-6


class Patience:
    """`limit`: the longest time to stay up, and how short a sleep must be to count as one not worth having. 0: never."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._until = 0.0
        self.lay_down = 0.0  # when; 0 while it is up
        self.span = 0.0  # how long it stays up now

    def lasts(self, now: float, drained: int) -> bool:
        """Whether to look on; a message that came starts the wait anew."""
        if drained:
            self._until = now + self.span
        return now < self._until

    def woken(self, now: float) -> None:
        """By a doorbell. One that rings while we are up says nothing."""
        if not self.lay_down:
            return
        if now - self.lay_down < self._limit:
            self.span = min(self._limit, max(_FIRST, 2 * self.span))
        else:
            self.span = self.span / 2 if self.span > _FIRST else 0.0
        self.lay_down = 0.0

    def crowded(self) -> None:
        """Others want this core."""
        self.span = self._until = 0.0
