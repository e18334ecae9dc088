"""Archive: memories in the file. Each function works on one connection, and writes in one transaction."""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence

from three_mode.errors import Overloaded
from three_mode.memory.schema import transaction
from three_mode.memory.terms import indexed
from three_mode.memory.values import MemoryOptions, Recollection, utc

_COLUMNS = "memory.id, memory.text, memory.source, memory.reference, memory.created, memory.expires"
_PRUNED_AT_ONCE = 1000
_PAGES_AT_ONCE = 1024


def namespace_id(file: sqlite3.Connection, name: str, *, make: bool = False) -> int | None:
    """Number of a namespace, or None where nothing is in it. Numbers are never used again."""
    row = file.execute("SELECT id FROM namespace WHERE name = ?", (name,)).fetchone()
    if row is None and make:
        return file.execute("INSERT INTO namespace (name) VALUES (?)", (name,)).lastrowid
    return None if row is None else int(row[0])


def add(
    file: sqlite3.Connection,
    namespace: str,
    texts: Sequence[str],
    *,
    source: str,
    reference: str,
    now: float,
    expires: float | None,
    options: MemoryOptions,
) -> list[Recollection]:
    """Adds memories, all of them or none.

    A text that the namespace has already is the same memory, which lasts as long as the longer of the two; where it
    came from first is kept.
    """
    with transaction(file):
        prune(file, now)
        number = namespace_id(file, namespace, make=True)
        assert number is not None
        for text in texts:
            digest = _digest(text)
            known = file.execute(
                "SELECT id, expires FROM memory WHERE namespace = ? AND digest = ?", (number, digest)
            ).fetchone()
            if known is not None:
                later = None if known[1] is None or expires is None else max(known[1], expires)
                file.execute("UPDATE memory SET expires = ? WHERE id = ?", (later, known[0]))
                continue
            key = file.execute(
                "INSERT INTO memory (namespace, digest, text, source, reference, created, expires) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, digest, text, source, reference, now, expires),
            ).lastrowid
            file.execute("INSERT INTO memory_terms (rowid, terms) VALUES (?, ?)", (key, indexed(number, text)))
        held = file.execute("SELECT memories FROM namespace WHERE id = ?", (number,)).fetchone()[0]
        if held > options.most_memories:
            raise Overloaded(
                f"the namespace {namespace!r} would hold {held} memories, and has room for {options.most_memories}",
                hint="forget some, let them expire (keep_for), or raise MemoryOptions.most_memories",
                retryable=False,
            )
        one = f"SELECT {_COLUMNS} FROM memory WHERE namespace = ? AND digest = ?"  # noqa: S608 - no input in it
        found = [file.execute(one, (number, _digest(text))).fetchone() for text in texts]
    return [_recollection(row, namespace) for row in found]


def load(
    file: sqlite3.Connection, namespace: str, number: int, ids: Sequence[int], now: float
) -> dict[int, Recollection]:
    """Memories of a namespace by their ids, without those that have expired."""
    marks = ", ".join("?" * len(ids))
    rows = file.execute(
        f"SELECT {_COLUMNS} FROM memory WHERE +namespace = ? AND id IN ({marks}) "  # noqa: S608 - no input in it
        "AND (expires IS NULL OR expires > ?)",
        (number, *ids, now),
    )
    return {row[0]: _recollection(row, namespace) for row in rows}


def page(file: sqlite3.Connection, namespace: str, before: int | None, limit: int, now: float) -> list[Recollection]:
    """Memories of a namespace, the newest first, of those with an id below `before`."""
    number = namespace_id(file, namespace)
    if number is None:
        return []
    rows = file.execute(
        f"SELECT {_COLUMNS} FROM memory "  # noqa: S608 - no input in it
        "WHERE namespace = ? AND id < ? AND (expires IS NULL OR expires > ?) ORDER BY id DESC LIMIT ?",
        (number, 2**62 if before is None else before, now, limit),
    )
    return [_recollection(row, namespace) for row in rows]


def count(file: sqlite3.Connection, namespace: str, now: float) -> int:
    """Number of memories of a namespace that have not expired."""
    number = namespace_id(file, namespace)
    if number is None:
        return 0
    held = file.execute("SELECT memories FROM namespace WHERE id = ?", (number,)).fetchone()[0]
    expired = file.execute(
        "SELECT count(*) FROM memory INDEXED BY memory_expiry WHERE expires <= ? AND namespace = ?", (now, number)
    ).fetchone()[0]
    return int(held - expired)


def remove(file: sqlite3.Connection, namespace: str, ids: Iterable[int]) -> int:
    """Removes memories of a namespace by their ids; returns how many there were."""
    number = namespace_id(file, namespace)
    if number is None:
        return 0
    with transaction(file):
        removed = sum(
            file.execute("DELETE FROM memory WHERE namespace = ? AND id = ?", (number, each)).rowcount for each in ids
        )
    _erase(file, removed)
    return removed


def remove_all(file: sqlite3.Connection, namespace: str, source: str | None) -> int:
    """Removes the memories of a namespace from one source; without a source everything, its pinned blocks too."""
    number = namespace_id(file, namespace)
    if number is None:
        return 0
    with transaction(file):
        if source is not None:
            cursor = file.execute("DELETE FROM memory WHERE namespace = ? AND source = ?", (number, source))
        else:
            cursor = file.execute("DELETE FROM memory WHERE namespace = ?", (number,))
            file.execute("DELETE FROM block WHERE namespace = ?", (number,))
            file.execute("DELETE FROM namespace WHERE id = ?", (number,))
    _erase(file, 1)
    return cursor.rowcount


def prune(file: sqlite3.Connection, now: float) -> int:
    """Removes memories that have expired, of every namespace. The caller has a transaction."""
    return file.execute(
        "DELETE FROM memory WHERE id IN (SELECT id FROM memory WHERE expires <= ? LIMIT ?)", (now, _PRUNED_AT_ONCE)
    ).rowcount


def prune_now(file: sqlite3.Connection, now: float) -> bool:
    """Removes some of what has expired before a search; returns whether any is left, as where another process writes.

    Some, because a search does not wait until a hundred thousand are gone.
    """
    expired = "SELECT 1 FROM memory WHERE expires <= ? LIMIT 1"
    if file.execute(expired, (now,)).fetchone() is None:
        return False
    try:
        with transaction(file):
            prune(file, now)
    except sqlite3.OperationalError:
        return True
    return file.execute(expired, (now,)).fetchone() is not None


def _erase(file: sqlite3.Connection, removed: int) -> None:
    """Overwrites what was removed: the index keeps words of deleted texts until it is merged, and the log keeps pages.

    Where another process reads at that moment, its log is overwritten by a later call.
    """
    if not removed:
        return
    try:
        file.execute("INSERT INTO memory_terms (memory_terms) VALUES ('optimize')")
        _give_back(file)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # busy: it is out of reach of every search already
        return


def _give_back(file: sqlite3.Connection) -> None:
    """Makes the file smaller by the pages that are not used any more, a few at a time, so that others may write in
    between. A file of an earlier version keeps them, and uses them again."""
    left = _free_pages(file)
    while left:
        file.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")  # `execute` would stop after the first page
        before, left = left, _free_pages(file)
        if left >= before:
            break


def _free_pages(file: sqlite3.Connection) -> int:
    return int(file.execute("PRAGMA freelist_count").fetchone()[0])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _recollection(row: tuple[int, str, str, str, float, float | None], namespace: str) -> Recollection:
    key, text, source, reference, created, expires = row
    return Recollection(
        id=key,
        text=text,
        namespace=namespace,
        source=source,
        reference=reference,
        created_at=utc(created),
        expires_at=None if expires is None else utc(expires),
    )
