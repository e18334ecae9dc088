"""Real gain: what steps with proposals won, by what was written in them and the time they took. Pure.

The choice of proposals rests on estimates. Where they were wrong, steps with proposals write less in their time than
others: then there are none for a while, and for longer each time that this is found again.
"""

MEMORY = 0.9  # weight of what was known, at each step
ENOUGH = 6  # steps from which on the gain counts
FIRST_PAUSE, LONGEST_PAUSE = 16, 1024  # looks


class RealGain:
    """Gain of the latest steps with proposals, and the pause behind those that lost."""

    def __init__(self) -> None:
        self._spared = self._taken = 0.0  # seconds: of steps without proposals for the same tokens, and of those with
        self._steps = 0
        self._pause, self._next_pause = 0, FIRST_PAUSE

    def pauses(self) -> bool:
        """Whether there are no proposals for now; counts the look that asks."""
        if self._pause:
            self._pause -= 1
            return True
        return False

    def record(self, plain_seconds: float, tokens: float, seconds: float) -> None:
        """Records a step: seconds of one without proposals, tokens that each call wrote on average, and its seconds."""
        self._spared = self._spared * MEMORY + plain_seconds * tokens
        self._taken = self._taken * MEMORY + seconds
        self._steps += 1
        if self._steps < ENOUGH:
            return
        if self._spared < self._taken:
            self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, LONGEST_PAUSE)
            self._spared = self._taken = 0.0
            self._steps = 0
        elif self._steps >= 4 * ENOUGH:
            self._next_pause = FIRST_PAUSE
