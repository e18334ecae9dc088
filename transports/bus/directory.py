"""The directory: who is on the bus, who owns which name, and how many subscriptions each member has.

The registry holds one, every member holds a copy, and both change it by the same pure steps.
"""

from collections.abc import Iterable
from types import MappingProxyType

from transports.bus.events import DirectoryChange, MemberInfo, MemberJoined, MemberLost, NamesChanged
from transports.bus.topics import matches


class Directory:
    def __init__(self) -> None:
        self._members: dict[str, MemberInfo] = {}
        self._owners: dict[str, str] = {}
        self._owned: dict[str, dict[str, None]] = {}
        self._patterns: dict[str, dict[str, int]] = {}
        self.members = MappingProxyType(self._members)
        self.names = MappingProxyType(self._owners)

    def owner(self, name: str) -> str | None:
        return self._owners.get(name)

    def owned(self, member: str) -> tuple[str, ...]:
        return tuple(self._owned.get(member, ()))

    def patterns(self, member: str) -> dict[str, int]:
        return self._patterns.get(member, {})

    def subscribers(self, member: str, topic: str) -> int:
        """How many subscriptions of `member` want `topic`."""
        return sum(count for pattern, count in self._patterns.get(member, {}).items() if matches(pattern, topic))

    def taken(self, names: Iterable[str], member: str) -> tuple[str, str] | None:
        """The first of `names` that another member owns, and that member."""
        for name in names:
            owner = self._owners.get(name, member)
            if owner != member:
                return name, owner
        return None

    def join(self, info: MemberInfo) -> list[DirectoryChange]:
        if info.id in self._members:
            self._members[info.id] = info
            return []
        self._members[info.id] = info
        return [MemberJoined(info)]

    def leave(self, member: str, reason: str) -> list[DirectoryChange]:
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
        if member not in self._members:
            return []
        owned = self._owned.setdefault(member, {})
        added = tuple(name for name in names if name not in owned)
        for name in added:
            previous = self._owners.get(name)
            if previous is not None:
                self._owned[previous].pop(name, None)
            self._owners[name] = member
            owned[name] = None
        return [NamesChanged(member, added=added)] if added else []

    def remove_names(self, member: str, names: Iterable[str]) -> list[DirectoryChange]:
        owned = self._owned.get(member, {})
        removed = tuple(name for name in names if name in owned)
        for name in removed:
            del owned[name]
            del self._owners[name]
        return [NamesChanged(member, removed=removed)] if removed else []

    def set_patterns(self, member: str, patterns: dict[str, int]) -> None:
        """`patterns` are changes: a count of 0 removes."""
        if member not in self._members:
            return
        mine = self._patterns.setdefault(member, {})
        for pattern, count in patterns.items():
            if count > 0:
                mine[pattern] = count
            else:
                mine.pop(pattern, None)
