"""Directory: the members of a bus, the owner of each name, and the subscriptions of each member.

The registry has one and every member has a copy; both change it by the same pure steps. A process may have many
members, as a node of a cluster has: they share the texts of the names.
"""

from collections.abc import Iterable
from sys import intern
from types import MappingProxyType

from transports.bus.events import DirectoryChange, MemberInfo, MemberJoined, MemberLost, NamesChanged
from transports.bus.topics import matches


class Directory:
    """Members, names and subscriptions. `members` and `names` are live views, by id and by name."""

    def __init__(self) -> None:
        self._members: dict[str, MemberInfo] = {}
        self._owners: dict[str, str] = {}
        self._owned: dict[str, dict[str, None]] = {}
        self._patterns: dict[str, dict[str, int]] = {}
        self.members = MappingProxyType(self._members)
        self.names = MappingProxyType(self._owners)

    def owner(self, name: str) -> str | None:
        """Return the member that registered `name`."""
        return self._owners.get(name)

    def owned(self, member: str) -> tuple[str, ...]:
        """Return the names of a member, oldest first."""
        return tuple(self._owned.get(member, ()))

    def patterns(self, member: str) -> dict[str, int]:
        """Return the patterns that a member subscribes to, and how many times each."""
        return self._patterns.get(member, {})

    def subscribers(self, member: str, topic: str) -> int:
        """Count the subscriptions of `member` that match `topic`."""
        return sum(count for pattern, count in self._patterns.get(member, {}).items() if matches(pattern, topic))

    def taken(self, names: Iterable[str], member: str) -> tuple[str, str] | None:
        """Return the first of `names` that another member owns, and its owner."""
        for name in names:
            owner = self._owners.get(name, member)
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
        names = tuple(self._owned.pop(member, ()))
        for name in names:
            del self._owners[name]
        changes: list[DirectoryChange] = [NamesChanged(member, removed=names)] if names else []
        return [*changes, MemberLost(info, reason)]

    def add_names(self, member: str, names: Iterable[str]) -> list[DirectoryChange]:
        """Make `member` the owner of `names`."""
        if member not in self._members:
            return []
        owned = self._owned.setdefault(member, {})
        added = tuple(intern(name) for name in dict.fromkeys(names) if name not in owned)
        for name in added:
            previous = self._owners.get(name)
            if previous is not None:
                self._owned[previous].pop(name, None)
            self._owners[name] = member
            owned[name] = None
        return [NamesChanged(member, added=added)] if added else []

    def remove_names(self, member: str, names: Iterable[str]) -> list[DirectoryChange]:
        """Remove `names` of `member`."""
        owned = self._owned.get(member, {})
        removed = tuple(name for name in dict.fromkeys(names) if name in owned)
        for name in removed:
            del owned[name]
            del self._owners[name]
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
