"""Changes of the directory, gathered for the next announcement; and the whole directory, for new members."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from transports.bus.directory import Directory
from transports.bus.events import MemberInfo
from transports.bus.registry import wire

ITEMS_A_MESSAGE = 4096  # members, names and patterns: so many keep a message well below its limit
_MEMBER_BYTES = wire.MESSAGE_LIMIT // 4  # of members that joined, with their endpoints, and of reasons of losses

_encode = msgspec.msgpack.Encoder().encode


class PendingChanges:
    """Changes since the last announcement."""

    def __init__(self) -> None:
        self._lost: list[tuple[str, str]] = []
        self._joined: dict[str, tuple[MemberInfo, dict[str, str]]] = {}
        self._added: dict[str, list[str]] = {}
        self._removed: dict[str, list[str]] = {}
        self._patterns: dict[str, dict[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._lost or self._joined or self._added or self._removed or self._patterns)

    def joined(self, info: MemberInfo, endpoints: dict[str, str]) -> None:
        """Add a member that joined."""
        self._joined[info.id] = info, endpoints

    def lost(self, member: str, reason: str) -> None:
        """Add a member that was lost; its earlier changes are dropped."""
        for gathered in (self._joined, self._added, self._removed, self._patterns):
            gathered.pop(member, None)
        self._lost.append((member, reason))

    def added(self, member: str, names: Sequence[str]) -> None:
        """Add names that a member registered."""
        self._move(member, names, self._removed, self._added)

    def removed(self, member: str, names: Sequence[str]) -> None:
        """Add names that a member gave back."""
        self._move(member, names, self._added, self._removed)

    @staticmethod
    def _move(member: str, names: Sequence[str], out_of: dict[str, list[str]], into: dict[str, list[str]]) -> None:
        into.setdefault(member, []).extend(names)
        if member in out_of:
            moved = set(names)
            out_of[member] = [name for name in out_of[member] if name not in moved]

    def patterns(self, member: str, patterns: dict[str, int]) -> None:
        """Add new counts of a member's subscriptions."""
        self._patterns.setdefault(member, {}).update(patterns)

    def messages(self) -> Iterator[wire.Changes]:
        """Yield the messages that announce these changes."""
        return _messages(self._lost, self._joined.values(), self._removed, self._added, self._patterns)


def snapshot(directory: Directory, members: Iterable[tuple[MemberInfo, dict[str, str]]]) -> Iterator[wire.Changes]:
    """Yield the messages that announce the whole directory. `members`: each with its endpoints."""
    everyone = list(members)
    names = {info.id: directory.owned(info.id) for info, _ in everyone}
    patterns = {info.id: directory.patterns(info.id) for info, _ in everyone}
    return _messages((), everyone, {}, names, patterns)


def _messages(
    lost: Sequence[tuple[str, str]],
    joined: Iterable[tuple[MemberInfo, dict[str, str]]],
    removed: Mapping[str, Sequence[str]],
    added: Mapping[str, Sequence[str]],
    patterns: Mapping[str, Mapping[str, int]],
) -> Iterator[wire.Changes]:
    """Yield as few messages as hold all changes, in the order in which a member applies them."""
    builder = _ChangesBuilder()
    for loss in lost:
        if builder.full:
            yield builder.take()
        builder.lost.append(loss)
        builder.bytes += len(_encode(loss))
    for info, endpoints in joined:
        if builder.full:
            yield builder.take()
        builder.joined.append(info)
        builder.bytes += len(_encode((info, endpoints)))
        if endpoints:
            builder.endpoints[info.id] = endpoints
    for field, parts in (("removed", removed), ("added", added)):
        for member, names in parts.items():
            for part in _parts(names):
                if builder.full:
                    yield builder.take()
                getattr(builder, field)[member] = tuple(part)
                builder.items += len(part)
    for member, counts in patterns.items():
        for items in _parts(list(counts.items())):
            if builder.full:
                yield builder.take()
            builder.patterns[member] = dict(items)
            builder.items += len(items)
    if builder:
        yield builder.take()


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), ITEMS_A_MESSAGE):
        yield items[start : start + ITEMS_A_MESSAGE]


class _ChangesBuilder:
    """Builder of one message. A full one is taken before more is added, so it holds at most twice `ITEMS_A_MESSAGE`."""

    def __init__(self) -> None:
        self.lost: list[tuple[str, str]] = []
        self.joined: list[MemberInfo] = []
        self.removed: dict[str, tuple[str, ...]] = {}
        self.added: dict[str, tuple[str, ...]] = {}
        self.patterns: dict[str, dict[str, int]] = {}
        self.endpoints: dict[str, dict[str, str]] = {}
        self.items = 0  # names and patterns
        self.bytes = 0  # of members

    def __bool__(self) -> bool:
        return bool(self.lost or self.joined or self.items)

    @property
    def full(self) -> bool:
        return self.items + len(self.lost) + len(self.joined) >= ITEMS_A_MESSAGE or self.bytes >= _MEMBER_BYTES

    def take(self) -> wire.Changes:
        changes = wire.Changes(
            tuple(self.lost), tuple(self.joined), self.added, self.removed, self.patterns, self.endpoints
        )
        self.__init__()  # type: ignore[misc]
        return changes
