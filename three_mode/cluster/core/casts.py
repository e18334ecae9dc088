"""Broadcasts between nodes: their numbers at the sender, what of them has arrived, and receipts added up over nodes."""

from collections import OrderedDict, deque

from three_mode.cluster.core.actions import CastSettled
from three_mode.cluster.core.frames import CastFrame, CountFrame
from three_mode.cluster.core.links import Range

KEPT = 4096  # broadcasts whose receivers are remembered: receipts of older ones ask every node
_RANGES = 256  # ranges of missing broadcasts that are remembered of one node
_HELD = 1024  # broadcasts of one node that wait behind large ones
_HELD_BYTES = 64 * 1024 * 1024


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
            self._note(gap)
        self.last = max(self.last, last)
        return gap

    def lose(self, number: int) -> None:
        """Note that a broadcast which was to come in pieces is missing."""
        self._note((number, number))

    def _note(self, gap: Range) -> None:
        self.missing.append(gap)
        if len(self.missing) > _RANGES:
            self.before = max(self.before, self.missing.pop(0)[1])  # what is not remembered counts as lost

    def has(self, number: int) -> bool:
        """Return whether a broadcast arrived here."""
        if not self.before < number <= self.last:
            return False
        return not any(first <= number <= last for first, last in self.missing)


class ComingCasts:
    """Large broadcasts of another node that come in pieces, and those of the same senders that wait behind them."""

    __slots__ = ("_bytes", "_held", "_held_numbers", "coming")

    def __init__(self) -> None:
        self.coming: dict[int, tuple[str, int]] = {}
        """Number -> its sender, and the link on which it comes."""
        self._held: dict[str, deque[CastFrame]] = {}
        self._held_numbers: set[int] = set()
        self._bytes = 0

    def waits(self, number: int) -> bool:
        """Return whether a broadcast has not come yet, or waits behind one that has not."""
        return number in self.coming or number in self._held_numbers

    def holds(self, sender: str) -> bool:
        """Return whether a broadcast of this sender has to wait."""
        return bool(self.coming) and any(who == sender for who, _ in self.coming.values())

    def before(self, number: int, sender: str) -> list[int]:
        """Return the large broadcasts of this sender that were sent before one."""
        return sorted(other for other, (who, _) in self.coming.items() if who == sender and other < number)

    def hold(self, frame: CastFrame) -> int | None:
        """Let a broadcast wait; return the number of a large one that is waited for no longer, if too many wait."""
        self._held.setdefault(frame.sender, deque()).append(frame)
        self._held_numbers.add(frame.number)
        self._bytes += len(frame.payload)
        if len(self._held_numbers) <= _HELD and self._bytes <= _HELD_BYTES:
            return None
        return min(self.coming)

    def end(self, number: int) -> list[CastFrame]:
        """Note that a large broadcast has come, or never will; return those that waited for it."""
        sender, _ = self.coming.pop(number)
        until = min((other for other, (who, _) in self.coming.items() if who == sender), default=None)
        held, found = self._held.get(sender, deque()), []
        while held and (until is None or held[0].number < until):
            frame = held.popleft()
            self._held_numbers.discard(frame.number)
            self._bytes -= len(frame.payload)
            found.append(frame)
        if not held:
            self._held.pop(sender, None)
        return found


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
