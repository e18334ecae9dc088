"""Pacing of announcements: at once while the bus is quiet, and in a burst only as often as the members can follow.

An announcement wakes every member, which costs each of them far more than it costs the registry. So a pause follows it,
in proportion to the number of members, in which changes gather: n members that join at once are announced in a few
rounds, not in n. The longer a burst goes on, the longer the pauses.
"""

# Seconds for each member: a process takes up to 300 us to wake up and read an announcement.
SHORTEST, LONGEST = 100e-6, 400e-6
FEW = 16  # members for which no pause is needed


class ChangePacing:
    """Time of the next announcement."""

    def __init__(self) -> None:
        self._pause = self._next = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next announcement may be sent."""
        return max(0.0, self._next - now)

    def sent(self, began: float, ended: float, members: int) -> None:
        """Note an announcement to so many members."""
        quiet = began - self._next > self._pause
        others = max(0, members - FEW)
        self._pause = SHORTEST * others if quiet else min(2 * self._pause, LONGEST * others)
        self._next = ended + self._pause
