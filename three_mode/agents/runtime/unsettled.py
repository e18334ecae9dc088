"""Broadcasts that agents of this process have not begun with yet, never will, or failed at: receipts ask. No I/O."""

from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Set as AbstractSet

KEPT = 4096  # messages whose losses and failures are remembered; those of older messages count as seen

_NOBODY: frozenset[str] = frozenset()

Key = tuple[str, int]


class Unsettled:
    """Late, lost and failed agents of each broadcast, named by the member that published it and its number."""

    __slots__ = ("_late", "_lost", "_raised", "_watchers")

    def __init__(self) -> None:
        self._late: dict[Key, set[str]] = {}
        self._lost: OrderedDict[Key, set[str]] = OrderedDict()
        self._raised: OrderedDict[Key, set[str]] = OrderedDict()
        self._watchers: dict[Key, list[Callable[[], None]]] = {}

    def put_aside(self, member: str, seq: int, agent: str) -> Callable[[bool], None]:
        """Note that an agent was busy. Call the returned function when it begins (True), or never will (False)."""
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
        """Note that an agent will never begin with a broadcast."""
        _add(self._lost, (member, seq), agent)

    def raised(self, member: str, seq: int, agent: str) -> None:
        """Note that the handler of an agent has raised."""
        _add(self._raised, (member, seq), agent)

    def count(self, member: str, seq: int, but: AbstractSet[str] = _NOBODY) -> tuple[int, int]:
        """Return how many agents are late with a broadcast, and how many have lost it, not counting those of `but`."""
        key = (member, seq)
        return len(self._late.get(key, _NOBODY) - but), len(self._lost.get(key, _NOBODY) - but)

    def failed(self, member: str, seq: int, but: AbstractSet[str] = _NOBODY) -> int:
        """Return in how many agents the handler of a broadcast has raised, not counting those of `but`."""
        return len(self._raised.get((member, seq), _NOBODY) - but)

    def when_settled(self, member: str, seq: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once no agent is late, at once if none is now. The returned function cancels that."""
        key = (member, seq)
        if key not in self._late:
            callback()
            return lambda: None
        watchers = self._watchers.setdefault(key, [])
        watchers.append(callback)
        return lambda: watchers.remove(callback) if callback in watchers else None


def _add(found: OrderedDict[Key, set[str]], key: Key, agent: str) -> None:
    found.setdefault(key, set()).add(agent)
    while len(found) > KEPT:
        found.popitem(last=False)
