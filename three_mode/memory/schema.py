"""Schema of the file: tables, the index of words, and triggers that keep them one.

    namespace   its name, and how many memories it has
    memory      the texts, with where they came from and when they expire
    memory_terms  FTS5: the terms of each memory, under its id
    vector      float32, of length 1, for each memory and embedding model
    block       pinned texts

A trigger on `memory` removes terms and vectors with it, whoever deletes it and however.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from three_mode.errors import ConfigurationError
from three_mode.wal import use_wal

APPLICATION = 0x336D6D31  # "3mm1", in the header of the file
VERSION = 1
TABLES = (
    """CREATE TABLE namespace (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        memories INTEGER NOT NULL DEFAULT 0,
        removals INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE memory (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace INTEGER NOT NULL,
        digest BLOB NOT NULL,
        text TEXT NOT NULL,
        source TEXT NOT NULL,
        reference TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        UNIQUE (namespace, digest))""",
    "CREATE INDEX memory_order ON memory (namespace, id)",
    "CREATE INDEX memory_expiry ON memory (expires) WHERE expires IS NOT NULL",
    """CREATE VIRTUAL TABLE memory_terms USING fts5(terms, tokenize = "porter ascii tokenchars '_'")""",
    """CREATE TABLE vector (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        memory INTEGER NOT NULL,
        namespace INTEGER NOT NULL,
        model TEXT NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE (memory, model))""",
    "CREATE INDEX vector_order ON vector (namespace, model, id)",
    """CREATE TABLE block (
        namespace INTEGER NOT NULL,
        label TEXT NOT NULL,
        text TEXT NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (namespace, label)) WITHOUT ROWID""",
    """CREATE TRIGGER memory_added AFTER INSERT ON memory BEGIN
        UPDATE namespace SET memories = memories + 1 WHERE id = new.namespace;
    END""",
    """CREATE TRIGGER memory_removed AFTER DELETE ON memory BEGIN
        DELETE FROM memory_terms WHERE rowid = old.id;
        DELETE FROM vector WHERE memory = old.id;
        UPDATE namespace SET memories = memories - 1, removals = removals + 1 WHERE id = old.namespace;
    END""",
)


def open_file(path: str | Path | None, busy_within: float) -> sqlite3.Connection:
    """Opens the file of a memory, or makes it; None: in this process's memory alone. Only its owner may read it."""
    name = "in memory" if path is None else Path(path).name
    try:
        if path is not None:
            _own(Path(path))
        return _prepared(":memory:" if path is None else path, busy_within)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"the memory file {name} cannot be used: {error}", hint="is its folder there, and is it yours to write to?"
        ) from None


def _own(path: Path) -> None:
    """Makes the file before SQLite does, so that nobody else can ever read it; takes others' rights from one that is
    there."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.close(descriptor)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)


def _prepared(path: str | Path, busy_within: float) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=busy_within, isolation_level=None, check_same_thread=False)
    try:
        file.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; it says nothing to another
        use_wal(file, busy_within)
        # Whole after a crash of the process, and after a power cut, which may lose the last writes.
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten
        if not _is_memory(file):
            with transaction(file):
                _create(file)
    except BaseException:
        file.close()
        raise
    return file


def _is_memory(file: sqlite3.Connection) -> bool:
    """Whether the file has the tables. Raises where they are of another version."""
    kind = file.execute("PRAGMA application_id").fetchone()[0]
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if kind == APPLICATION and version != VERSION:
        raise ConfigurationError(
            f"the memory file is of version {version}, and this is {VERSION}", hint="upgrade three-mode"
        )
    return bool(kind == APPLICATION)


def _create(file: sqlite3.Connection) -> None:
    if _is_memory(file):  # another process was faster
        return
    if file.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise ConfigurationError("the file is a database of something else", hint="give the memory a file of its own")
    for statement in TABLES:
        file.execute(statement)
    file.execute(f"PRAGMA application_id={APPLICATION}")
    file.execute(f"PRAGMA user_version={VERSION}")


@contextlib.contextmanager
def transaction(file: sqlite3.Connection) -> Iterator[None]:
    """A block whose writes are done together or not at all. It waits for another writer when it begins."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if file.in_transaction:
            file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")
