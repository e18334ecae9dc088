"""How often everybody is told of changes: at once while it is quiet, and in a burst only as often as the members can follow.

To tell is to wake every member, which costs each of them far more than it costs the registry. So after it there is a
pause in proportion to their number, in which changes gather: n that join at once are told in a few rounds, not in n. A
burst that goes on is told more rarely.
"""

# Seconds for each member; a process takes up to 300 us to wake up and read the news.
SHORTEST, LONGEST = 100e-6, 400e-6
FEW = 16  # members that nobody need be spared for


class ChangePacing:
    def __init__(self) -> None:
        self._pause = self._next = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next time."""
        return max(0.0, self._next - now)

    def sent(self, began: float, ended: float, members: int) -> None:
        quiet = began - self._next > self._pause
        others = max(0, members - FEW)
        self._pause = SHORTEST * others if quiet else min(2 * self._pause, LONGEST * others)
        self._next = ended + self._pause
