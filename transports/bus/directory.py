"""Directory: the members of a bus, the owner of each name, and the subscriptions of each member.

The registry has one and every member has a copy; both change it by the same pure steps. A process may have many
members, as a node of a cluster has, and each has all names: they take two bytes in each.
"""

from collections.abc import Iterable
from types import MappingProxyType

from transports.bus.events import DirectoryChange, MemberInfo, MemberJoined, MemberLost, NamesChanged
from transports.bus.name_rows import NameRows
from transports.bus.topics import matches


class Directory:
    """Members, names and subscriptions. `members` and `names` are live views, by id and by name."""

    def __init__(self) -> None:
        self._members: dict[str, MemberInfo] = {}
        self._owners: NameRows[str] = NameRows()
        self._patterns: dict[str, dict[str, int]] = {}
        self.members = MappingProxyType(self._members)
        self.names = MappingProxyType(self._owners)
        self.recent = self._owners.recent
        """The owners of names that were looked up lately."""

    def owner(self, name: str) -> str | None:
        """Return the member that registered `name`."""
        return self._owners.find(name)

    def owned(self, member: str) -> tuple[str, ...]:
        """Return the names of a member."""
        return tuple(self._owners.having(member))

    def patterns(self, member: str) -> dict[str, int]:
        """Return the patterns that a member subscribes to, and how many times each."""
        return self._patterns.get(member, {})

    def subscribers(self, member: str, topic: str) -> int:
        """Count the subscriptions of `member` that match `topic`."""
        return sum(count for pattern, count in self._patterns.get(member, {}).items() if matches(pattern, topic))

    def taken(self, names: Iterable[str], member: str) -> tuple[str, str] | None:
        """Return the first of `names` that another member owns, and its owner."""
        for name in self._owners.known(list(names)):
            owner = self._owners[name]
            if owner != member:
                return name, owner
        return None

    def join(self, info: MemberInfo) -> list[DirectoryChange]:
        """Add a member."""
        if info.id in self._members:
            self._members[info.id] = info
            return []
        self._members[info.id] = info
        return [MemberJoined(info)]

    def leave(self, member: str, reason: str) -> list[DirectoryChange]:
        """Remove a member, with its names and subscriptions."""
        info = self._members.pop(member, None)
        if info is None:
            return []
        self._patterns.pop(member, None)
        names = tuple(self._owners.take(member))
        changes: list[DirectoryChange] = [NamesChanged(member, removed=names)] if names else []
        return [*changes, MemberLost(info, reason)]

    def add_names(self, member: str, names: Iterable[str]) -> list[DirectoryChange]:
        """Make `member` the owner of `names`."""
        if member not in self._members:
            return []
        added = tuple(self._owners.put(names, member))
        return [NamesChanged(member, added=added)] if added else []

    def remove_names(self, member: str, names: Iterable[str]) -> list[DirectoryChange]:
        """Remove `names` of `member`."""
        owners = self._owners
        removed = tuple(name for name in dict.fromkeys(names) if owners.find(name) == member)
        for name in removed:
            owners.pop(name)
        return [NamesChanged(member, removed=removed)] if removed else []

    def set_patterns(self, member: str, patterns: dict[str, int]) -> None:
        """Change the subscriptions of a member: `patterns` holds new counts, and 0 removes a pattern."""
        if member not in self._members:
            return
        mine = self._patterns.setdefault(member, {})
        for pattern, count in patterns.items():
            if count > 0:
                mine[pattern] = count
            else:
                mine.pop(pattern, None)
