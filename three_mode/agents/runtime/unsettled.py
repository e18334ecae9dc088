"""What a receipt asks of a process: which of its agents have not yet begun with a broadcast, and which never will. No I/O."""

from collections import OrderedDict
from collections.abc import Callable

KEPT = 4096  # messages about which something is remembered; what is forgotten counts as seen by then

Key = tuple[str, int]


class Unsettled:
    __slots__ = ("_late", "_lost", "_watchers")

    def __init__(self) -> None:
        self._late: dict[Key, set[str]] = {}
        self._lost: OrderedDict[Key, set[str]] = OrderedDict()
        self._watchers: dict[Key, list[Callable[[], None]]] = {}

    def put_aside(self, member: str, seq: int, agent: str) -> Callable[[bool], None]:
        """An agent was busy; what is returned is called when it begins (True) or never will (False)."""
        key = (member, seq)
        self._late.setdefault(key, set()).add(agent)

        def done(begun: bool) -> None:
            late = self._late.get(key)
            if late is not None:
                late.discard(agent)
            if not begun:
                self.lost(member, seq, agent)
            if not late:
                self._late.pop(key, None)
                for watcher in self._watchers.pop(key, ()):
                    watcher()

        return done

    def lost(self, member: str, seq: int, agent: str) -> None:
        self._lost.setdefault((member, seq), set()).add(agent)
        while len(self._lost) > KEPT:
            self._lost.popitem(last=False)

    def count(self, member: str, seq: int) -> tuple[int, int]:
        """How many agents are late, and how many have lost it."""
        key = (member, seq)
        return len(self._late.get(key, ())), len(self._lost.get(key, ()))

    def when_settled(self, member: str, seq: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back once nobody is late (at once, if so now); what is returned takes the wish back."""
        key = (member, seq)
        if key not in self._late:
            callback()
            return lambda: None
        watchers = self._watchers.setdefault(key, [])
        watchers.append(callback)
        return lambda: watchers.remove(callback) if callback in watchers else None
