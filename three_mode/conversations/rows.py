"""SQL of the store: each function is one read, or the inside of one transaction. They run on the store's thread."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from three_mode.conversations.entries import (
    FIRST_MARK,
    KINDS,
    Answered,
    Body,
    Cut,
    EntryKind,
    LogEntry,
    Pin,
    Round,
    Said,
    decode_body,
    encode_body,
    text_of,
)
from three_mode.conversations.schema import BITS, MOST
from three_mode.errors import ConversationError, NoSuchConversation
from three_mode.messages import Message

_COLUMNS = "id, kind, turn, at, tokens, body"
_QUALIFIED = ", ".join(f"e.{column}" for column in _COLUMNS.split(", "))
_MARK = int(FIRST_MARK)
_LAST = "SELECT name, upto, (SELECT max(id) FROM entry WHERE id BETWEEN ? AND ?) FROM talk WHERE talk.id = ?"
_BATCH = 256
_MOST_PAGES = 4096  # that are given back in one go
_MERGED_PAGES = 256  # of the index, that are written in one go
_WORD = re.compile(r"[^\W_]+")


class _Draft(Protocol):
    @property
    def turn(self) -> int: ...
    @property
    def body(self) -> Body: ...
    @property
    def tokens(self) -> int: ...
    @property
    def at(self) -> int: ...


class NewRow(NamedTuple):
    """A row, encoded; it gets its number when it is written."""

    kind: int
    turn: int
    at: int
    tokens: int
    body: bytes


class Segment(NamedTuple):
    """The part of a conversation's log that one talk holds: the numbers above `low`, up to `high`."""

    talk: int
    low: int
    high: int

    @property
    def ids(self) -> tuple[int, int]:
        """First and last id."""
        return (self.talk << BITS) + self.low + 1, (self.talk << BITS) + self.high


class LoadedRows(NamedTuple):
    """Rows in the order of their numbers."""

    entries: list[LogEntry]
    last: int  #: number of the last row
    whole: bool  #: whether these are all rows


class AppendedRows(NamedTuple):
    """Written rows; or the rows of others, and nothing is written."""

    written: tuple[LogEntry, ...] = ()
    missed: tuple[LogEntry, ...] = ()


class ListedTalk(NamedTuple):
    """A conversation, in a list."""

    name: str
    created: int
    changed: int
    turns: int
    fork_of: str | None


class MatchedRow(NamedTuple):
    """A row that a search found."""

    conversation: str
    entry: LogEntry


def encoded(drafts: Sequence[_Draft], at: int) -> list[NewRow]:
    """Encode rows. On the caller's thread, so that a body that cannot be written is the caller's error."""
    return [
        NewRow(int(KINDS[type(draft.body)]), draft.turn, draft.at or at, draft.tokens, encode_body(draft.body))
        for draft in drafts
    ]


def find(file: sqlite3.Connection, name: str) -> int | None:
    """The id of a conversation."""
    row = file.execute("SELECT id FROM talk WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def create(
    file: sqlite3.Connection, name: str, new: Sequence[NewRow], at: int, parent: int | None, upto: int, fresh: bool
) -> int:
    """Make a conversation, unless it is there."""
    known = find(file, name)
    if known is not None:
        if not fresh:
            return known
        raise ConversationError(
            f"there is a conversation {name!r} already", conversation=name, hint="give another name"
        )
    made = file.execute(
        "INSERT INTO talk (name, parent, upto, created) VALUES (?, ?, ?, ?)", (name, parent, upto, at)
    ).lastrowid
    assert made is not None
    _insert(file, made, upto, new)
    return made


def append(file: sqlite3.Connection, talk: int, known: int | None, new: Sequence[NewRow]) -> AppendedRows:
    """Write rows, unless there are rows behind `known`."""
    last = last_number(file, talk)
    if known is not None and last > known:
        low, high = (talk << BITS) + known + 1, (talk << BITS) + MOST
        missed = file.execute(f"SELECT {_COLUMNS} FROM entry WHERE id BETWEEN ? AND ? ORDER BY id", (low, high))  # noqa: S608 - no input in it
        return AppendedRows(missed=tuple(map(_entry, missed)))
    return AppendedRows(_insert(file, talk, last, new))


def last_number(file: sqlite3.Connection, talk: int) -> int:
    """The number of the last row of a conversation."""
    row = file.execute(_LAST, (*Segment(talk, 0, MOST).ids, talk)).fetchone()
    if row is None or row[0] is None:
        raise NoSuchConversation("the conversation was deleted")
    return int(row[1]) if row[2] is None else int(row[2]) & MOST


def _insert(file: sqlite3.Connection, talk: int, last: int, new: Sequence[NewRow]) -> tuple[LogEntry, ...]:
    first = (talk << BITS) + last + 1
    file.executemany(
        f"INSERT INTO entry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - no input in it
        [(key, *row) for key, row in enumerate(new, first)],
    )
    known = file.execute("SELECT 1 FROM fresh WHERE id BETWEEN ? AND ? LIMIT 1", Segment(talk, 0, MOST).ids)
    if new and known.fetchone() is None:
        file.execute("INSERT INTO fresh (id) VALUES (?)", (first,))
    return tuple(
        LogEntry(number, EntryKind(row.kind), row.turn, row.at, row.tokens, row.body)
        for number, row in enumerate(new, last + 1)
    )


def segments(file: sqlite3.Connection, talk: int) -> list[Segment]:
    """The parts that a conversation's log is made of: those of the talks it was forked from, the oldest first."""
    found: list[Segment] = []
    high = MOST
    current: int | None = talk
    while current is not None:
        row = file.execute("SELECT parent, upto FROM talk WHERE id = ?", (current,)).fetchone()
        if row is None:
            break
        found.append(Segment(current, int(row[1]), high))
        current, high = row[0], min(high, int(row[1]))
    return found[::-1]


# Reading


def load_all(file: sqlite3.Connection, talk: int) -> LoadedRows:
    """All rows of a conversation."""
    last = last_number(file, talk)
    entries = [entry for part in segments(file, talk) for entry in _rows(file, part)]
    return LoadedRows(entries, last, True)


def load(file: sqlite3.Connection, talk: int, tokens: int, first: int) -> LoadedRows:
    """All marks; rows of turns from the last one back, until they have `tokens`; the rows of the first messages and of
    pinned turns. The time it takes does not depend on the length of the conversation."""
    last = last_number(file, talk)
    parts = segments(file, talk)
    found = {entry.number: entry for entry in _marks(file, parts)}
    gone = {entry.turn for entry in found.values() if _takes_out(entry)}
    total, whole = 0, True
    for entry in _backwards(file, parts):
        if total >= tokens:
            whole = False
            break
        found[entry.number] = entry
        if entry.turn not in gone:
            total += entry.tokens
    if not whole:
        _drop_half_turn(found)
        for entry in _first(file, parts, first, gone):
            found[entry.number] = entry
        for entry in [entry for entry in found.values() if entry.kind is EntryKind.PIN]:
            for row in _numbered(file, parts, decode_body(Pin, entry.body).rows):
                found[row.number] = row
    return LoadedRows([found[number] for number in sorted(found)], last, whole)


def _drop_half_turn(found: dict[int, LogEntry]) -> None:
    """Take out the answer of a turn whose beginning was not read."""
    said = {entry.turn for entry in found.values() if entry.kind is EntryKind.SAID}
    for number in [n for n, entry in found.items() if entry.kind < FIRST_MARK and entry.turn not in said]:
        del found[number]


def _takes_out(entry: LogEntry) -> bool:
    """Whether a mark takes its turn out of the conversation."""
    if entry.kind is EntryKind.CUT:
        return not decode_body(Cut, entry.body).stays
    return entry.kind is EntryKind.UNDONE


def _entry(row: tuple[int, int, int, int, int, bytes]) -> LogEntry:
    return LogEntry(row[0] & MOST, EntryKind(row[1]), row[2], row[3], row[4], row[5])


def _rows(file: sqlite3.Connection, part: Segment) -> Iterator[LogEntry]:
    query = f"SELECT {_COLUMNS} FROM entry WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608 - no input in it
    return map(_entry, file.execute(query, part.ids))


def _marks(file: sqlite3.Connection, parts: Sequence[Segment]) -> Iterator[LogEntry]:
    query = (
        f"SELECT {_COLUMNS} FROM entry INDEXED BY entry_mark "  # noqa: S608 - no input in it
        f"WHERE id BETWEEN ? AND ? AND kind >= {_MARK}"
    )
    for part in parts:
        yield from map(_entry, file.execute(query, part.ids))


def _backwards(file: sqlite3.Connection, parts: Sequence[Segment]) -> Iterator[LogEntry]:
    query = (
        f"SELECT {_COLUMNS} FROM entry WHERE id BETWEEN ? AND ? AND kind < {_MARK} "  # noqa: S608 - no input in it
        f"ORDER BY id DESC LIMIT {_BATCH}"
    )
    for part in reversed(parts):
        low, high = part.ids
        while batch := file.execute(query, (low, high)).fetchall():
            yield from map(_entry, batch)
            high = batch[-1][0] - 1


def _first(file: sqlite3.Connection, parts: Sequence[Segment], most: int, gone: set[int]) -> Iterator[LogEntry]:
    """Rows of the first turns that were not taken back, until they have `most` messages."""
    count, turn = 0, 0
    for part in parts if most else ():
        for entry in _rows(file, part):
            if entry.kind >= FIRST_MARK or entry.turn in gone:
                continue
            if count >= most and entry.turn != turn:
                return
            turn = entry.turn
            count += len(messages_of(entry))
            yield entry


def _numbered(file: sqlite3.Connection, parts: Sequence[Segment], numbers: Sequence[int]) -> Iterator[LogEntry]:
    for number in numbers:
        for part in parts:
            if part.low < number <= part.high:
                key = ((part.talk << BITS) + number,)
                yield from map(_entry, file.execute(f"SELECT {_COLUMNS} FROM entry WHERE id = ?", key))  # noqa: S608 - no input in it


def messages_of(entry: LogEntry) -> tuple[Message, ...]:
    """The messages of a row."""
    if entry.kind is EntryKind.SAID:
        return decode_body(Said, entry.body).messages
    if entry.kind is EntryKind.ANSWERED:
        return decode_body(Answered, entry.body).messages
    if entry.kind is EntryKind.ROUND:
        return decode_body(Round, entry.body).messages
    return ()


# Lists and searches


def index(file: sqlite3.Connection) -> None:
    """Put the words of rows into the index that are not there yet."""
    query = f"""
        SELECT {_QUALIFIED} FROM (SELECT id >> {BITS} AS talk, min(id) AS first FROM fresh GROUP BY talk) f
        JOIN entry e ON e.id BETWEEN f.first AND (f.talk << {BITS}) + {MOST} WHERE e.kind < {_MARK}"""  # noqa: S608 - no input in it
    texts = [(row[0], text_of(messages_of(_entry(row)))) for row in file.execute(query).fetchall()]
    file.executemany("INSERT INTO word (rowid, text) VALUES (?, ?)", texts)
    file.execute("DELETE FROM fresh")


def has_fresh(file: sqlite3.Connection) -> bool:
    """Whether there are rows that the index does not have."""
    return file.execute("SELECT 1 FROM fresh LIMIT 1").fetchone() is not None


def listed(file: sqlite3.Connection, prefix: str, most: int, offset: int) -> list[ListedTalk]:
    """Conversations, those with the latest rows first."""
    query = f"""
        SELECT t.id, t.name, t.created, p.name, coalesce(
            (SELECT e.at FROM entry e WHERE e.id BETWEEN (t.id << {BITS}) AND (t.id << {BITS}) + {MOST}
             ORDER BY e.id DESC LIMIT 1), t.created) AS changed
        FROM talk t LEFT JOIN talk p ON p.id = t.parent
        WHERE t.name IS NOT NULL AND substr(t.name, 1, length(?1)) = ?1
        ORDER BY changed DESC, t.id DESC LIMIT ?2 OFFSET ?3"""  # noqa: S608 - no input in it
    found = file.execute(query, (prefix, most, offset)).fetchall()
    return [ListedTalk(name, created, changed, _turns(file, talk), of) for talk, name, created, of, changed in found]


def _turns(file: sqlite3.Connection, talk: int) -> int:
    """How many turns of a conversation were not taken back."""
    parts = segments(file, talk)
    last = next((entry.turn for entry in _backwards(file, parts)), 0)
    return last - len(_gone(file, parts))


def _gone(file: sqlite3.Connection, parts: Sequence[Segment]) -> set[int]:
    return {entry.turn for entry in _marks(file, parts) if _takes_out(entry)}


def search(file: sqlite3.Connection, words: str, talk: int | None, most: int) -> list[MatchedRow]:
    """Rows that hold all words, in any conversation or in one; rows of turns that were taken back are left out."""
    wanted = _WORD.findall(words)
    if not wanted:
        return []
    match = " ".join(f'"{word}"' for word in wanted)
    where, given = "", list[object]([match])
    if talk is not None:
        ranges = [part.ids for part in segments(file, talk)]
        where = "AND (" + " OR ".join("word.rowid BETWEEN ? AND ?" for _ in ranges) + ")"
        given += [edge for ids in ranges for edge in ids]
    query = f"""
        SELECT {_QUALIFIED}
        FROM word JOIN entry e ON e.id = word.rowid WHERE word MATCH ? {where} ORDER BY e.at DESC, e.id DESC"""  # noqa: S608 - no input in it
    names: dict[int, list[tuple[int, str]]] = {}
    gone: dict[int, set[int]] = {}
    found: list[MatchedRow] = []
    for row in file.execute(query, given):
        entry, owner = _entry(row), row[0] >> BITS
        if owner not in names:
            names[owner] = _shown_by(file, owner)
        for shower, name in [(talk, "")] if talk is not None else names[owner]:
            assert shower is not None
            parts = segments(file, shower)
            if not any(part.talk == owner and part.low < entry.number <= part.high for part in parts):
                continue
            if shower not in gone:
                gone[shower] = _gone(file, parts)
            if entry.turn not in gone[shower]:
                found.append(MatchedRow(name or _name(file, shower), entry))
                break
        if len(found) >= most:
            break
    return found


def _name(file: sqlite3.Connection, talk: int) -> str:
    return str(file.execute("SELECT name FROM talk WHERE id = ?", (talk,)).fetchone()[0])


def _shown_by(file: sqlite3.Connection, talk: int) -> list[tuple[int, str]]:
    """The conversations that show rows of a talk: it, or where it was deleted, its forks."""
    row = file.execute("SELECT name FROM talk WHERE id = ?", (talk,)).fetchone()
    if row is None:
        return []
    if row[0] is not None:
        return [(talk, row[0])]
    children = file.execute("SELECT id FROM talk WHERE parent = ?", (talk,)).fetchall()
    return [shown for (child,) in children for shown in _shown_by(file, child)]


# Deleting


def delete(file: sqlite3.Connection, talk: int) -> None:
    """Delete a conversation. Rows that forks of it show stay, and go with the last fork."""
    file.execute("UPDATE talk SET name = NULL WHERE id = ?", (talk,))
    current: int | None = talk
    while current is not None:
        row = file.execute("SELECT name, parent FROM talk WHERE id = ?", (current,)).fetchone()
        if row is None or row[0] is not None:
            return
        upto = file.execute("SELECT max(upto) FROM talk WHERE parent = ?", (current,)).fetchone()[0]
        _delete_rows(file, current, int(upto or 0))
        if upto is not None:
            return
        file.execute("DELETE FROM talk WHERE id = ?", (current,))
        current = row[1]


def _delete_rows(file: sqlite3.Connection, talk: int, above: int) -> None:
    part = Segment(talk, above, MOST)
    index(file)
    for entry in _rows(file, part):
        if entry.kind < FIRST_MARK:
            key, text = (talk << BITS) + entry.number, text_of(messages_of(entry))
            file.execute("INSERT INTO word (word, rowid, text) VALUES ('delete', ?, ?)", (key, text))
    file.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", part.ids)
    file.execute("INSERT INTO word (word) VALUES ('optimize')")  # the index forgets the words themselves


def merge(file: sqlite3.Connection) -> None:
    """Merge segments of the index, in a bounded time: each has its own copy of the words."""
    file.execute(f"INSERT INTO word (word, rank) VALUES ('merge', -{_MERGED_PAGES})")  # noqa: S608 - no input in it


def shrink(file: sqlite3.Connection) -> None:
    """Give back pages that are not used any more, such as those that the index had before it was merged."""
    file.executescript(f"PRAGMA incremental_vacuum({_MOST_PAGES})")  # `execute` would stop after the first page


def wipe(file: sqlite3.Connection) -> None:
    """Move the journal into the file and empty it. It stays as it is while another process reads."""
    shrink(file)
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
