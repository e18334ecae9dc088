"""Names: the agents of all nodes, each with the epoch of the incarnation that runs.

An epoch is (number, node). A node numbers its claims above every number that it has seen, so no two incarnations have
one epoch. Between two nodes the rank decides: the number under which an agent was placed at its node, which stays when
it is restarted there, and the node. So one that was placed in knowledge of another outranks it, any two nodes agree
which of two is later, and the store of what agents keep agrees with them: it has the same ranks.
A name that is here wins over one that is elsewhere, until a later claim of a node that can be heard ends it.

Names travel as changes from version to version. A node that misses one sees a version in the next heartbeat that it
does not have, and asks for all names.
"""

from collections.abc import Iterable

from msgspec import structs

from three_mode.cluster.core.claims import Claims
from three_mode.cluster.core.frames import Claim, NamesFrame, NamesPartFrame, Surroundings
from transports.bus import NameRows, matches

CLAIMS_A_FRAME = 2000
_TOPICS = 1024  # topics whose listeners are remembered


class ListenerCounts:
    """Topic -> how many agents listen, worked out once until names or patterns change."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def forget(self) -> None:
        """Work them out again: names or patterns have changed."""
        self._known.clear()

    def of(self, topic: str, claims: Claims, around: Surroundings) -> int:
        """Return how many agents of these claims listen to a topic."""
        count = self._known.get(topic)
        if count is None:
            if len(self._known) >= _TOPICS:
                self._known.clear()
            groups = around.groups.items()
            found = [group for group, patterns in groups if any(matches(pattern, topic) for pattern in patterns)]
            count = sum(map(claims.in_group, found))
            self._known[topic] = count
        return count


class NamesOf:
    """Names of another node, as far as they are known here."""

    __slots__ = ("around", "asked", "claims", "counts", "latest", "parts", "parts_version", "version")

    def __init__(self) -> None:
        self.version = self.latest = 0
        """Version that is known here, and the latest that was heard of."""
        self.claims = Claims()
        self.around = Surroundings()
        self.counts = ListenerCounts()
        self.parts: dict[int, NamesPartFrame] = {}
        self.parts_version = 0
        self.asked = float("-inf")
        """When all names were asked for."""

    def change(self, frame: NamesFrame) -> bool:
        """Take a change; return False where it does not follow what is known."""
        if frame.version <= self.version:
            return True
        if frame.base != self.version:
            return False
        self.version = frame.version
        self.counts.forget()
        for name in frame.removed:
            self.claims.remove(name)
        self.claims.add(frame.claims)
        self.around = frame.around or self.around
        return True

    def part(self, frame: NamesPartFrame) -> bool:
        """Take a part of all names; return whether they are complete with it."""
        if frame.version <= self.version or frame.part >= frame.parts:
            return False
        if frame.version != self.parts_version:
            self.parts, self.parts_version = {}, frame.version
        self.parts[frame.part] = frame
        if len(self.parts) < frame.parts:
            return False
        self.claims = Claims(claim for part in self.parts.values() for claim in part.claims)
        self.around = next((part.around for part in self.parts.values() if part.around), self.around)
        self.version, self.parts = frame.version, {}
        self.counts.forget()
        return True

    def listening(self, topic: str) -> int:
        """Return how many agents there listen to a topic."""
        return self.counts.of(topic, self.claims, self.around)


class OwnNames:
    """Names of this node, and the changes of them that the others have not been told of yet."""

    def __init__(self) -> None:
        self.claims = Claims()
        self._placed: NameRows[int] = NameRows()  # agents that were placed here, and under which number
        self.around = Surroundings()
        self.version = 0
        self.clock = 0
        """Highest number of any claim that was seen, or made."""
        self.counts = ListenerCounts()
        self._changed: dict[str, Claim | None] = {}
        self._around_changed = False

    def see(self, claims: Iterable[Claim]) -> None:
        """Note the numbers of claims of others."""
        self.clock = max(self.clock, max((claim.number for claim in claims), default=0))

    def claim(self, names: Iterable[str]) -> None:
        """Claim names for agents that have begun here, each a new incarnation of the rank that it was placed with."""
        self.clock += 1
        self.counts.forget()
        self._set([Claim(name, self.clock, False, self._placed.find(name) or 0) for name in names])

    def place(self, names: Iterable[str]) -> int:
        """Give agents that are about to be made here their rank, and return it: it is above all that were seen."""
        self.clock += 1
        self._placed.put(names, self.clock)
        return self.clock

    def reserve(self, names: Iterable[str], after: int) -> None:
        """Claim names for agents that are about to begin here, above `after`: nobody elsewhere ends for that yet."""
        self.clock = max(self.clock, after) + 1
        self.counts.forget()
        self._set([Claim(name, self.clock, True) for name in names])

    def _set(self, claims: list[Claim]) -> None:
        self.claims.add(claims)
        self._changed.update((claim.name, claim) for claim in claims)

    def release(self, names: Iterable[str]) -> None:
        """Give names up: their agents have ended."""
        self.counts.forget()
        for name in names:
            claim = self.claims.get(name)
            if claim is not None:
                self.claims.remove(name)
                self._changed[name] = None
                if self._placed.find(name) == claim.placed:  # else it was placed anew meanwhile
                    self._placed.pop(name)

    def away(self, names: Iterable[str]) -> None:
        """Note that the process of these agents ended, and that they may come back."""
        found = [self.claims.get(name) for name in names]
        self._set([structs.replace(claim, away=True) for claim in found if claim is not None and not claim.away])

    def surround(self, around: Surroundings) -> None:
        """Set the roles of this node, and the patterns of its groups."""
        if around != self.around:
            self.around, self._around_changed = around, True
            self.counts.forget()

    def acts(self, name: str, epoch: int) -> bool:
        """Return whether the incarnation of this epoch runs here."""
        claim = self.claims.epoch(name)
        return claim is not None and claim[:2] == (epoch, False)

    def changes(self) -> list[NamesFrame]:
        """Return the changes that the others have not been told of, which they are told of now."""
        if not self._changed and not self._around_changed:
            return []
        changed, self._changed = list(self._changed.items()), {}
        frames = []
        for start in range(0, max(1, len(changed)), CLAIMS_A_FRAME):
            some = changed[start : start + CLAIMS_A_FRAME]
            claims = tuple(claim for _, claim in some if claim is not None)
            removed = tuple(name for name, claim in some if claim is None)
            around = self.around if self._around_changed and start + CLAIMS_A_FRAME >= len(changed) else None
            frames.append(NamesFrame(self.version, self.version + 1, claims, removed, around))
            self.version += 1
        self._around_changed = False
        return frames

    def all(self) -> list[NamesPartFrame]:
        """Return all names, in parts."""
        claims = list(self.claims.values())
        starts = range(0, max(1, len(claims)), CLAIMS_A_FRAME)
        parts = [tuple(claims[start : start + CLAIMS_A_FRAME]) for start in starts]
        last = len(parts) - 1
        return [
            NamesPartFrame(self.version, place, len(parts), part, self.around if place == last else None)
            for place, part in enumerate(parts)
        ]

    def listening(self, topic: str) -> int:
        """Return how many agents here listen to a topic."""
        return self.counts.of(topic, self.claims, self.around)

    def beaten_by(self, node: str, claims: Iterable[Claim], me: str) -> list[str]:
        """Return the names of which another node has a later incarnation than this one has."""
        mine = self.claims
        return [
            claim.name
            for claim in claims
            if (own := mine.rank(claim.name)) >= 0 and not claim.away and (claim.rank, node) > (own, me)
        ]
