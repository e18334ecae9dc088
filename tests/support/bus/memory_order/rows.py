"""Rows of C that touch shared memory, and threads made of them.

A row quotes a line of `transports/bus/native`. What it does, and in which order, is read from the line itself, so that
the model says what the C says; `missing` finds rows whose line is not there any more, or comes in another place.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.bus.memory_order.machine import Found, Kind, Order, Step

NATIVE = Path(__file__).resolve().parents[4] / "transports" / "bus" / "native"
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("atomic_thread_fence", "fence"),
    ("atomic_fetch_", "rmw"),
    ("atomic_store", "store"),
    ("atomic_load", "load"),
)
_ORDER = re.compile(r"memory_order_(\w+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a function. `word` is what it touches, as the model calls it; "" for a fence, and for a line that only
    calls the function whose rows follow."""

    place: str
    """File and function: `writer.c bus_put`."""
    line: str
    word: str = ""

    @property
    def kind(self) -> Kind | None:
        """What the line does; None where the line alone does not say it: a copy, or a call."""
        return next((kind for mark, kind in _KINDS if mark in self.line), None)

    @property
    def order(self) -> Order:
        """The order that it asks for. C's atomics without `_explicit` ask for the strongest."""
        if self.kind is None:
            return "plain"
        named = _ORDER.search(self.line)
        return named[1] if named is not None else "seq_cst"  # type: ignore[return-value]


Rows = tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """What the row of a word does to it: `into` for a load, `value` for a store, both for a read that writes."""

    word: str
    into: str = ""
    value: Callable[[Found], int] | None = None
    when: Callable[[Found], bool] | None = None
    needs: tuple[str, ...] = ()


def load(word: str, into: str = "") -> Access:
    """A load, whose result has the word's name, or `into`."""
    return Access(word, into=into or word)


def store(
    word: str,
    value: int | Callable[[Found], int],
    when: Callable[[Found], bool] | None = None,
    needs: tuple[str, ...] = (),
) -> Access:
    """A store of a number, or of what `value` makes of what was loaded before."""
    return Access(word, value=value if callable(value) else lambda _: value, when=when, needs=needs)


def change(word: str, into: str, value: Callable[[int], int]) -> Access:
    """A read that writes."""
    return Access(word, into=into, value=lambda found: value(found[into]))


def thread(rows: Rows, *accesses: Access) -> tuple[Step, ...]:
    """The steps of rows; each row that touches a word takes the next access."""
    left = list(accesses)
    steps = []
    for row in rows:
        if row.kind == "fence":
            steps.append(Step("fence", row.order, line=row.line))
        elif row.word:
            one = left.pop(0)
            kind = row.kind or ("store" if one.value is not None else "load")
            assert (kind in ("load", "rmw")) == bool(one.into), f"{row.line} is no {one}"
            steps.append(Step(kind, row.order, one.word, one.into, one.value, one.when, one.needs, row.line))
    assert not left, f"more accesses than rows: {left}"
    return tuple(steps)


def missing(rows: Iterable[Row]) -> list[str]:
    """The rows that the C does not have, or not in this order within one call of their function."""
    wrong = []
    last: dict[str, int] = {}
    first: dict[str, str] = {}
    for row in rows:
        at = _body(row.place).find(row.line)
        again = first.setdefault(row.place, row.line) == row.line  # the function is called once more
        if at < 0:
            wrong.append(f"{row.place}: {row.line}")
        elif at < last.get(row.place, 0) and not again and not _is_in_loop(row):
            wrong.append(f"{row.place}: {row.line} (it comes earlier)")
        last[row.place] = at
    return wrong


def _is_in_loop(row: Row) -> bool:
    """Whether the row is one of several that the model makes of one line, which the C performs in a loop."""
    return row.word[-1:].isdigit()


def _body(place: str) -> str:
    """The function, from its definition to the brace that ends it; "" where there is none."""
    file, function = place.split()
    text = (NATIVE / file).read_text()
    found = re.search(rf"^\w[^\n;]*\b{function}\([^\n]*\) {{[^\n]*$", text, re.MULTILINE)
    if found is None:
        return ""
    if found[0].endswith("}"):
        return found[0]
    return text[found.start() : text.index("\n}\n", found.start())]


# mistakes -------------------------------------------------------------------------------------------------------------
def without(rows: Rows, part: str, number: int = 0) -> Rows:
    """The rows without a fence: of those whose line has this part, the one of that number."""
    fences = [place for place, row in enumerate(rows) if row.kind == "fence" and part in row.line]
    return rows[: fences[number]] + rows[fences[number] + 1 :]


def relaxed(rows: Rows, part: str) -> Rows:
    """The rows, of which the first with this part, or of this word, asks for no order."""
    place = _place(rows, part)
    line = _ORDER.sub("memory_order_relaxed", rows[place].line)
    assert line != rows[place].line
    return (*rows[:place], replace(rows[place], line=line), *rows[place + 1 :])


def behind(rows: Rows, part: str, other: str) -> Rows:
    """The rows, of which the first with this part, or of this word, comes behind the first with the other."""
    place = _place(rows, part)
    rest = rows[:place] + rows[place + 1 :]
    to = _place(rest, other) + 1
    return (*rest[:to], rows[place], *rest[to:])


def _place(rows: Sequence[Row], part: str) -> int:
    return next(place for place, row in enumerate(rows) if part in row.line or part == row.word)


def named(rows: Rows, accesses: Mapping[str, Access]) -> tuple[Step, ...]:
    """The steps of rows, each word by its own access: for rows whose order was changed."""
    return thread(rows, *(accesses[row.word] for row in rows if row.word and row.kind != "fence"))
