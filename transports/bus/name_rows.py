"""Name table: names and what they stand for, where many names share few values. Names in rows are as small as a number.

Agents are `scout/0` to `scout/511`, and all of them belong to one member, or began in one order. So a name with a
number is a cell in the row of its group, of two bytes, and a cell is the number of a value:

    scout    first 0    | 1 | 1 | 1 | 2 | 2 | 0 | 1 |        values    1: @1f2e3d4c    2: @5b6a7988    0: none

A dictionary takes some hundred bytes for the same, and a process of a cluster's node has a dozen of them. Names without
a number, and those far from the others of their group, are in a dictionary beside the rows.
"""

from array import array
from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from sys import intern
from typing import Generic, TypeVar

V = TypeVar("V", bound=Hashable)

_CELL = "H"
_MOST_VALUES = 65535  # that a cell can number
_DIGITS = 9  # of the number in a name, at most
_GAP = 64  # free cells beside a row, besides as many as it has, that one more name may bring
_RECENT = 1024  # names that were looked up lately


class _Row:
    """Row of one group: the cells of its names from number `first` on, and how many of them are used."""

    __slots__ = ("cells", "first", "gone", "used")

    def __init__(self, first: int) -> None:
        self.first, self.cells = first, array(_CELL)
        self.used = self.gone = 0

    def cell(self, number: int) -> int:
        """Return the cell of a number."""
        place = number - self.first
        return self.cells[place] if 0 <= place < len(self.cells) else 0

    def reach(self, number: int, count: int) -> int:
        """Make room for numbers; return the place of the first, or -1 where it is too far from the others."""
        place, size = number - self.first, len(self.cells)
        if place - size > size + _GAP or -place > size + _GAP:
            return -1
        if place < 0:
            self.cells = array(_CELL, bytes(-place * self.cells.itemsize)) + self.cells
            self.first, place, size = number, 0, size - place
        if place + count > size:
            self.cells.frombytes(bytes((place + count - size) * self.cells.itemsize))
        return place

    def shrink(self) -> None:
        """Drop the free cells at both ends, if as many names have gone since the last time as half of the cells."""
        if self.gone <= len(self.cells) // 2 + _GAP:
            return
        used = [place for place, cell in enumerate(self.cells) if cell]
        self.cells = self.cells[used[0] : used[-1] + 1]
        self.first += used[0]
        self.gone = 0


class NameRows(MutableMapping[str, V], Generic[V]):
    """Names and their values, which are hashable and never None. Names come in the order of groups and numbers, and not
    in that in which they were added.

    `recent` has names that were looked up lately: a plain dictionary, for who cannot afford more than a look into one.
    """

    __slots__ = ("_count", "_free", "_loose", "_numbers", "_rows", "_users", "_values", "recent")

    def __init__(self, names: Iterable[str] = (), value: V | None = None) -> None:
        self.recent: dict[str, V] = {}
        self.clear()
        if value is not None:
            self.put(names, value)

    def clear(self) -> None:
        """Remove all names."""
        self._rows: dict[str, _Row] = {}
        self._values: list[V | None] = [None]
        self._users: list[dict[str, int]] = [{}]  # of each value: group -> how many names
        self._numbers: dict[V, int] = {}
        self._free: list[int] = []  # numbers of values that no name has any more
        self._loose: dict[str, V] = {}
        self._count = 0
        self.recent.clear()

    # one name ---------------------------------------------------------------------------------------------------------
    def get(self, name: str, default: V | None = None) -> V | None:  # type: ignore[override]
        """Return the value of a name, and have it among the recent ones."""
        found = self.recent.get(name)
        if found is None:
            found = self.find(name)
            if found is None:
                return default
            if len(self.recent) >= _RECENT:
                self.recent.clear()
            self.recent[name] = found
        return found

    def find(self, name: str) -> V | None:
        """Return the value of a name, as one of many."""
        group, number = _parts(name)
        row = self._rows.get(group) if number >= 0 else None
        cell = row.cell(number) if row is not None else 0
        return self._values[cell] if cell else self._loose.get(name)

    def __getitem__(self, name: str) -> V:
        found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __setitem__(self, name: str, value: V) -> None:
        self.put((name,), value)

    def __delitem__(self, name: str) -> None:
        if self.pop(name, None) is None:
            raise KeyError(name)

    def pop(self, name: str, default: V | None = None) -> V | None:  # type: ignore[override]
        """Remove a name, and return its value."""
        self.recent.pop(name, None)
        group, number = _parts(name)
        row = self._rows.get(group) if number >= 0 else None
        cell = row.cell(number) if row is not None else 0
        if row is None or not cell:
            found = self._loose.pop(name, None)
            self._count -= found is not None
            return default if found is None else found
        value = self._values[cell]
        row.cells[number - row.first] = 0
        self._went(group, row, cell)
        return value

    def setdefault(self, name: str, default: V | None = None) -> V:
        """Return the value of a name; `default`, which it has from now on, where it had none."""
        found = self.find(name)
        if found is None:
            assert default is not None
            self.put((name,), default)
            return default
        return found

    # many names -------------------------------------------------------------------------------------------------------
    def put(self, names: Iterable[str], value: V) -> list[str]:
        """Set the value of names; return those that had another one, or none. Those in a row are quick."""
        names, loose = list(names), self._loose
        changed: list[str] = []
        at = 0
        while at < len(names):
            group, number = _parts(names[at])
            end = _end_of_run(names, at, group, number) if number >= 0 else at + 1
            run, at = names[at:end], end
            if self.recent:
                for name in run:
                    self.recent.pop(name, None)
            if number >= 0 and loose and not loose.keys().isdisjoint(run):
                for name in run:  # some are in no row
                    changed += self._put_loose(name, value) if name in loose else self._put(name, value)
            elif number < 0 or not self._put_run(group, number, run, value, changed):
                for name in run:
                    changed += self._put(name, value)
        return changed

    def _put(self, name: str, value: V) -> list[str]:
        """Set the value of one name that is in a row, or new; return it if that is a change."""
        group, number = _parts(name)
        changed: list[str] = []
        if number >= 0 and self._put_run(group, number, [name], value, changed):
            return changed
        if number >= 0:
            self.pop(name)  # it is in no row from now on
        return self._put_loose(name, value)

    def _put_loose(self, name: str, value: V) -> list[str]:
        before = self._loose.get(name)
        if before is None:
            self._count += 1
        self._loose[intern(name)] = value
        return [name] if before != value else []

    def _put_run(self, group: str, first: int, names: list[str], value: V, changed: list[str]) -> bool:
        """Set the value of names that follow each other, and add those that had another one to `changed`.

        Return False where there is no room for them in the row, or for the value.
        """
        cell = self._numbers.get(value, 0) or self._number(value)
        row = self._rows.get(group) or _Row(first)
        place = row.reach(first, len(names)) if cell else -1
        if place < 0:
            if cell and not self._users[cell]:
                self._drop(cell)
            return False
        self._rows.setdefault(intern(group), row)
        cells, end, count = row.cells, place + len(names), len(names)
        before = cells[place:end]
        same = before.count(cell)
        if same == count:
            return True
        cells[place:end] = array(_CELL, (cell,)) * count
        users = self._users[cell]
        users[group] = users.get(group, 0) + count - same
        new = before.count(0)
        self._count += new
        row.used += new
        if new + same < count:
            for other in set(before) - {0, cell}:
                self._leave(other, group, before.count(other))
        changed += names if not same else [name for name, one in zip(names, before, strict=True) if one != cell]
        return True

    def known(self, names: list[str]) -> list[str]:
        """Return those of names that are in the table."""
        if not self:
            return []
        return [name for name in names if self.find(name) is not None]

    def take(self, value: V) -> list[str]:
        """Remove all names with a value, and return them."""
        names, cell = self.having(value), self._numbers.get(value, 0)
        self.recent.clear()
        for group, count in list(self._users[cell].items()):
            row = self._rows[group]
            row.cells = array(_CELL, [0 if one == cell else one for one in row.cells])
            self._went(group, row, cell, count)
        loose = [name for name, one in self._loose.items() if one == value]
        for name in loose:
            del self._loose[name]
        self._count -= len(loose)
        return names

    def _went(self, group: str, row: _Row, cell: int, count: int = 1) -> None:
        """Note that names of a row, whose cells are free now, are gone."""
        row.used -= count
        row.gone += count
        self._count -= count
        self._leave(cell, group, count)
        if row.used:
            row.shrink()
        else:
            del self._rows[group]

    def _number(self, value: V) -> int:
        """Return a number for a value; 0 where there is none left."""
        if not self._free and len(self._values) > _MOST_VALUES:
            return 0
        if self._free:
            cell = self._free.pop()
            self._values[cell] = value
        else:
            cell = len(self._values)
            self._values.append(value)
            self._users.append({})
        self._numbers[value] = cell
        return cell

    def _leave(self, cell: int, group: str, count: int = 1) -> None:
        """Note that names of a group have a value no longer."""
        users = self._users[cell]
        users[group] -= count
        if not users[group]:
            del users[group]
            if not users:
                self._drop(cell)

    def _drop(self, cell: int) -> None:
        value = self._values[cell]
        assert value is not None
        del self._numbers[value]
        self._values[cell] = None
        self._free.append(cell)

    def having(self, value: V) -> list[str]:
        """Return the names with a value."""
        cell = self._numbers.get(value, 0)
        found = []
        for group in self._users[cell]:
            row = self._rows[group]
            found += [f"{group}/{row.first + place}" for place, one in enumerate(row.cells) if one == cell]
        return found + [name for name, one in self._loose.items() if one == value]

    def in_group(self, group: str) -> int:
        """Return how many names a group has."""
        row = self._rows.get(group)
        loose = sum(name.rpartition("/")[0] == group for name in self._loose) if self._loose else 0
        return loose + (row.used if row is not None else 0)

    # all names --------------------------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for group, row in self._rows.items():
            for place, cell in enumerate(row.cells):
                if cell:
                    yield f"{group}/{row.first + place}"
        yield from self._loose

    def pairs(self) -> Iterator[tuple[str, V]]:
        """Yield all names with their values."""
        values = self._values
        for group, row in self._rows.items():
            for place, cell in enumerate(row.cells):
                if cell:
                    yield f"{group}/{row.first + place}", values[cell]  # type: ignore[misc]  # a cell in use
        yield from self._loose.items()


def _parts(name: str) -> tuple[str, int]:
    """Return the group and the number of a name; -1 where it has none that it could be made of again."""
    group, slash, digits = name.rpartition("/")
    if digits.isdecimal() and slash and len(digits) <= _DIGITS and digits.isascii():
        number = int(digits)
        if digits[0] != "0" or digits == "0":
            return group, number
    return name, -1


def _end_of_run(names: list[str], at: int, group: str, number: int) -> int:
    """Return where the names end that follow the one at a place: those of the next numbers of its group."""
    end = at + 1
    while end < len(names):
        number += 1
        if names[end] != f"{group}/{number}":
            break
        end += 1
    return end
