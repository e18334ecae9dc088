"""Which of many entries to let go of, where each counts its calls: so nothing is to be done for it when one is used."""

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

MOST = 10_000  # entries that are kept one by one
OTHERS = "\0others"  # in the place of a name: of entries that were many and are one
K = TypeVar("K")


class Used(Protocol):
    """`seen` are its calls at the last look, `unused` the looks since it had any."""

    calls: int
    seen: int
    unused: int


class LeastUsed(Generic[K]):
    """Looks at the entries now and then: whenever a quarter of what there may be is new."""

    def __init__(self, entries: Mapping[K, Used], most: int) -> None:
        self._entries, self._most, self._quarter = entries, most, max(most // 4, 2)
        self._look_at = self._quarter

    def going(self) -> list[K]:
        """None, or, where there are too many, so many that there is room again if they become half as many: those that were unused for
        the most looks; of equal ones those with the fewest calls since the last, then the oldest."""
        entries, count = self._entries, len(self._entries)
        if count < self._look_at:
            return []
        calls: dict[K, int] = {}
        for key, each in entries.items():
            calls[key] = since = each.calls - each.seen
            each.unused = 0 if since else each.unused + 1
            each.seen = each.calls
        self._look_at = min(count + self._quarter, self._most + 1)
        if count <= self._most:
            return []
        many = max(self._quarter, 2 * (count - self._most))
        return sorted(entries, key=lambda key: (-entries[key].unused, calls[key]))[:many]
