"""Broadcasts between nodes: their numbers at the sender, what of them has arrived, and receipts added up over nodes."""

from collections import OrderedDict

from three_mode.cluster.core.actions import CastSettled
from three_mode.cluster.core.frames import CountFrame
from three_mode.cluster.core.links import Range

KEPT = 4096  # broadcasts whose receivers are remembered: receipts of older ones ask every node
_RANGES = 256  # ranges of missing broadcasts that are remembered of one node


class CastsOf:
    """Broadcasts of another node: which have arrived."""

    __slots__ = ("before", "last", "missing")

    def __init__(self, last: int) -> None:
        self.before = self.last = last
        """`before`: broadcasts up to this number count as missed: this node did not know the other yet."""
        self.missing: list[Range] = []

    def arrives(self, number: int) -> tuple[bool, Range | None]:
        """Return whether this broadcast is taken, and those before it that are missing from now on."""
        if number <= self.last:
            return False, None
        return True, self.reached(number, number - 1)

    def reached(self, last: int, missing_to: int | None = None) -> Range | None:
        """Note that the sender is at `last`; return the broadcasts that are missing from now on."""
        missing_to = last if missing_to is None else missing_to
        gap = (self.last + 1, missing_to) if missing_to > self.last else None
        if gap is not None:
            self.missing.append(gap)
            if len(self.missing) > _RANGES:
                self.before = self.missing.pop(0)[1]  # what is not remembered counts as lost
        self.last = max(self.last, last)
        return gap

    def has(self, number: int) -> bool:
        """Return whether a broadcast arrived here."""
        if not self.before < number <= self.last:
            return False
        return not any(first <= number <= last for first, last in self.missing)


class Settling:
    """One receipt: the nodes that are asked, and what they answered."""

    __slots__ = ("agents", "dead", "ends", "failed", "late", "lost", "silent", "ticket", "unreachable", "waiting")

    def __init__(self, ticket: int, ends: float) -> None:
        self.ticket, self.ends = ticket, ends
        self.waiting: dict[str, int] = {}
        """Node that is asked -> how many of its agents listened."""
        self.agents = self.late = self.lost = self.dead = self.failed = self.unreachable = 0
        self.silent: list[str] = []

    def answer(self, node: str, count: CountFrame) -> bool:
        """Take the answer of a node; return whether all have answered."""
        if self.waiting.pop(node, None) is None:
            return False
        self.agents += count.agents
        self.late += count.late
        self.lost += count.lost
        self.dead += count.dead
        self.failed += count.failed
        return not self.waiting

    def give_up(self, node: str, agents: int) -> None:
        """Count a node that does not answer."""
        self.waiting.pop(node, None)
        self.unreachable += agents
        self.silent.append(node)

    def settled(self, names: tuple[str, ...]) -> CastSettled:
        """Return the sums; `names`: of the nodes that did not answer."""
        return CastSettled(
            self.ticket,
            self.agents,
            self.late,
            self.lost,
            self.dead,
            self.failed,
            self.unreachable,
            names,
        )


class OwnCasts:
    """Broadcasts of this node: who was to get each, and the receipts that are being added up."""

    def __init__(self) -> None:
        self.last = 0
        self._expected: OrderedDict[int, dict[str, int]] = OrderedDict()
        self.settling: dict[int, Settling] = {}

    def next(self, expected: dict[str, int]) -> int:
        """Number a broadcast; `expected`: node -> how many of its agents listen."""
        self.last += 1
        self._expected[self.last] = expected
        if len(self._expected) > KEPT:
            self._expected.popitem(last=False)
        return self.last

    def expected(self, number: int) -> dict[str, int]:
        """Return node -> how many of its agents listened to a broadcast when it was sent."""
        return self._expected.get(number, {})
