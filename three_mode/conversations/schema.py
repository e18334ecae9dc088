"""File of conversations: its tables, and the check that a file is one of ours.

`talk` has a row a conversation, `entry` a row an event of its log. `word` is the index for searching, and `fresh` says
from which row on a conversation is not in it yet: many at once take less time and room than one by one. An entry's id
is its conversation's number and its own in one integer, so that the rows of a conversation lie together.
"""

import os
import sqlite3
from pathlib import Path

from three_mode.conversations.entries import FIRST_MARK
from three_mode.errors import ConversationBusy, ConversationFileError
from three_mode.wal import use_wal

# 2: rows of rounds. 3: `fresh` has the first row that is not indexed, and not each. Earlier files are taken as they
# are.
VERSION = 3
APPLICATION = 0x336D_5461  # "3mTa", in the header of the file
MEMORY = ":memory:"
BITS = 32  # of an entry's id, for its number
MOST = (1 << BITS) - 1

_TABLES = f"""
CREATE TABLE talk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE,         -- NULL: deleted, but forks of it still show its rows
    parent INTEGER,           -- the talk that it is a fork of
    upto INTEGER NOT NULL,    -- the last number of the parent's that it shows
    created INTEGER NOT NULL  -- seconds since 1970
);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,   -- talk << {BITS} | number
    kind INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    at INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX entry_mark ON entry (id) WHERE kind >= {int(FIRST_MARK)};
CREATE TABLE fresh (
    id INTEGER PRIMARY KEY    -- of the first such row of a conversation; all rows behind it are so too
);
CREATE VIRTUAL TABLE word USING fts5(text, content='', detail=none, columnsize=0);
"""


def open_file(path: str | Path, busy: float, durable: bool) -> sqlite3.Connection:
    """Opens a file of conversations, made if it is not there, for its owner alone. `busy` is in seconds."""
    name = Path(path).name
    try:
        if str(path) != MEMORY:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        file = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConversationFileError(
            f"the file of conversations {name} cannot be opened: {error}", hint="give another path"
        ) from None
    try:
        file.execute("BEGIN")  # what is checked is of one moment: another process may be making the tables
        try:
            _check(file, name)
        finally:
            if file.in_transaction:
                file.execute("ROLLBACK")
        file.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; it says nothing to another
        use_wal(file, busy)
        file.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        file.execute("PRAGMA secure_delete=ON")
        _make(file, name)
    except sqlite3.Error as error:
        file.close()
        raise error_of(error, name) from None
    except BaseException:
        file.close()
        raise
    return file


def error_of(error: sqlite3.Error, name: str) -> ConversationFileError | ConversationBusy:
    """An error of SQLite as ours."""
    if isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error)):
        return ConversationBusy(
            f"another process writes to {name} for too long", hint="try again, or raise ConversationOptions(busy=)"
        )
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return ConversationFileError(
            f"{name} is no file of conversations, or it is damaged: {error}",
            hint="restore a copy of it, or give another path",
        )
    return ConversationFileError(f"{name} cannot be read or written: {error}", hint="is the disk full?")


def _check(file: sqlite3.Connection, name: str) -> None:
    """Refuses a file of another program or of a newer version, before anything is written to it."""
    application = file.execute("PRAGMA application_id").fetchone()[0]
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION and version > VERSION:
        raise ConversationFileError(
            f"{name} was written by a newer version: its schema is {version}, this one knows {VERSION}",
            hint="upgrade three-mode",
        )
    tables = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION and (tables or application or version):
        raise ConversationFileError(f"{name} is a file of another program", hint="give another path")


def _make(file: sqlite3.Connection, name: str) -> None:
    """Makes the tables of a new file, or of an older one a file of this version; of two processes that come at once,
    one does."""
    if file.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    file.execute("BEGIN IMMEDIATE")
    try:
        _check(file, name)
        if file.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    file.execute(statement)
            file.execute(f"PRAGMA application_id={APPLICATION}")
        file.execute(f"PRAGMA user_version={VERSION}")
        file.execute("COMMIT")
    except BaseException:
        file.execute("ROLLBACK")
        raise
