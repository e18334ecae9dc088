"""Bounded tables: chooses which entries to remove, by the calls that each entry counts itself.

Using an entry costs nothing: no list is kept in order of use.
"""

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

MOST = 10_000  # entries of a table, by default
OTHERS = "\0others"  # name of the entry that removed entries are added up in
K = TypeVar("K")


class Used(Protocol):
    """Entry of a bounded table: counts its calls."""

    calls: int  #: calls so far
    seen: int  #: calls at the last check
    unused: int  #: checks since the last call


class LeastUsed(Generic[K]):
    """Checks the entries of a table whenever a quarter of the most that it may hold is new."""

    def __init__(self, entries: Mapping[K, Used], most: int) -> None:
        self._entries, self._most, self._quarter = entries, most, max(most // 4, 2)
        self._next_check = self._quarter

    def going(self) -> list[K]:
        """Keys of the entries to remove; [] while there is room.

        Entries that were unused for the most checks go first; of equal ones those with the fewest calls since the last
        check, then the oldest. The list is long enough that the table has room again when half as many entries, the
        sums of the removed ones, come back.
        """
        entries, count = self._entries, len(self._entries)
        if count < self._next_check:
            return []
        calls: dict[K, int] = {}
        for key, each in entries.items():
            calls[key] = new_calls = each.calls - each.seen
            each.unused = 0 if new_calls else each.unused + 1
            each.seen = each.calls
        self._next_check = min(count + self._quarter, self._most + 1)
        if count <= self._most:
            return []
        surplus = max(self._quarter, 2 * (count - self._most))
        return sorted(entries, key=lambda key: (-entries[key].unused, calls[key]))[:surplus]
