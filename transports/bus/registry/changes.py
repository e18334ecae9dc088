"""What changed in the directory and has not been told yet, gathered so that a burst is told once; and all of it, for who is new."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from transports.bus.directory import Directory
from transports.bus.events import MemberInfo
from transports.bus.registry import wire

ITEMS_A_MESSAGE = 4096  # members, names and patterns: what keeps a message well below its limit


class PendingChanges:
    def __init__(self) -> None:
        self._lost: list[tuple[str, str]] = []
        self._joined: dict[str, tuple[MemberInfo, dict[str, str]]] = {}
        self._added: dict[str, list[str]] = {}
        self._removed: dict[str, list[str]] = {}
        self._patterns: dict[str, dict[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._lost or self._joined or self._added or self._removed or self._patterns)

    def joined(self, info: MemberInfo, endpoints: dict[str, str]) -> None:
        self._joined[info.id] = info, endpoints

    def lost(self, member: str, reason: str) -> None:
        """What it did before no longer matters to anybody."""
        for gathered in (self._joined, self._added, self._removed, self._patterns):
            gathered.pop(member, None)
        self._lost.append((member, reason))

    def added(self, member: str, names: Sequence[str]) -> None:
        self._move(member, names, self._removed, self._added)

    def removed(self, member: str, names: Sequence[str]) -> None:
        self._move(member, names, self._added, self._removed)

    @staticmethod
    def _move(member: str, names: Sequence[str], out_of: dict[str, list[str]], into: dict[str, list[str]]) -> None:
        into.setdefault(member, []).extend(names)
        if member in out_of:
            moved = set(names)
            out_of[member] = [name for name in out_of[member] if name not in moved]

    def patterns(self, member: str, patterns: dict[str, int]) -> None:
        self._patterns.setdefault(member, {}).update(patterns)

    def messages(self) -> Iterator[wire.Changes]:
        return _messages(self._lost, self._joined.values(), self._removed, self._added, self._patterns)


def snapshot(directory: Directory, members: Iterable[tuple[MemberInfo, dict[str, str]]]) -> Iterator[wire.Changes]:
    """The whole directory. `members`: each with its endpoints."""
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
    """As few messages as hold it, in the order in which a member applies them."""
    letter = _ChangesBuilder()
    for loss in lost:
        if letter.full:
            yield letter.take()
        letter.lost.append(loss)
    for info, endpoints in joined:
        if letter.full:
            yield letter.take()
        letter.joined.append(info)
        if endpoints:
            letter.endpoints[info.id] = endpoints
    for field, parts in (("removed", removed), ("added", added)):
        for member, names in parts.items():
            for part in _parts(names):
                if letter.full:
                    yield letter.take()
                getattr(letter, field)[member] = tuple(part)
                letter.items += len(part)
    for member, counts in patterns.items():
        for items in _parts(list(counts.items())):
            if letter.full:
                yield letter.take()
            letter.patterns[member] = dict(items)
            letter.items += len(items)
    if letter:
        yield letter.take()


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), ITEMS_A_MESSAGE):
        yield items[start : start + ITEMS_A_MESSAGE]


class _ChangesBuilder:
    """A message in the making. It is sent when it is full, so it holds at most twice what makes it full."""

    def __init__(self) -> None:
        self.lost: list[tuple[str, str]] = []
        self.joined: list[MemberInfo] = []
        self.removed: dict[str, tuple[str, ...]] = {}
        self.added: dict[str, tuple[str, ...]] = {}
        self.patterns: dict[str, dict[str, int]] = {}
        self.endpoints: dict[str, dict[str, str]] = {}
        self.items = 0  # names and patterns

    def __bool__(self) -> bool:
        return bool(self.lost or self.joined or self.items)

    @property
    def full(self) -> bool:
        return self.items + len(self.lost) + len(self.joined) >= ITEMS_A_MESSAGE

    def take(self) -> wire.Changes:
        changes = wire.Changes(
            tuple(self.lost), tuple(self.joined), self.added, self.removed, self.patterns, self.endpoints
        )
        self.__init__()  # type: ignore[misc]
        return changes
