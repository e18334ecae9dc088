"""File of snapshots: its table in SQLite, and what is read and written there.

`place` has a row an agent: the incarnation that may write, and the last snapshot, or none yet. Several processes use
the file at once; each change is one transaction, whole or not at all.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite, KeptState, outranked, removed
from three_mode.errors import ConfigurationError, StateNotKept
from three_mode.wal import use_wal

VERSION = 1
APPLICATION = 0x336D_6B73  # "3mks", in the header of the file

_TABLE = """
CREATE TABLE place (
    agent TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    rank TEXT NOT NULL,       -- of the incarnation, where incarnations are numbered
    version INTEGER,          -- of the snapshot; NULL: there is none yet
    state BLOB,
    crc INTEGER,
    kept REAL                 -- seconds since 1970
) WITHOUT ROWID
"""


class SnapshotFile:
    """One connection to a file of snapshots. A thread uses it after the other."""

    def __init__(self, options: KeepOptions) -> None:
        self._options, self._name = options, Path(options.file).name
        try:
            os.close(os.open(options.file, os.O_CREAT | os.O_RDWR, 0o600))
            self._file = sqlite3.connect(
                options.file, timeout=options.within, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            with self._transaction("BEGIN"):  # what is checked is of one moment: another process may make the table
                made = self._is_made()
            use_wal(self._file, options.within)
            self._file.execute(f"PRAGMA synchronous={'FULL' if options.durable else 'NORMAL'}")
            if not made:
                with self._transaction():
                    self._make()
        except sqlite3.Error as error:
            self._file.close()
            raise self._unusable(error) from None
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._file.close()

    # snapshots --------------------------------------------------------------------------------------------------------
    def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        """Give places to incarnations, and return the last snapshots."""
        found: dict[str, KeptState] = {}
        refused: dict[str, str] = {}
        with self._writing():
            for claim in claims:
                row = self._file.execute(
                    "INSERT INTO place (agent, incarnation, rank) VALUES (?, ?, ?) ON CONFLICT (agent) DO UPDATE "
                    "SET incarnation = excluded.incarnation, rank = excluded.rank WHERE rank <= excluded.rank "
                    "RETURNING version, state, crc",
                    (claim.agent, claim.incarnation, claim.rank),
                ).fetchone()
                if row is None:
                    refused[claim.agent] = outranked(claim.agent)
                elif row[0] is not None:
                    found[claim.agent] = KeptState(*row)
        return Claimed(found, refused)

    def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        """Keep snapshots in one transaction; return those that were refused, with the reason."""
        refused, now = {}, time.time()
        with self._writing():
            for write in writes:
                kept = write.snapshot
                done = self._file.execute(
                    "UPDATE place SET version = ?, state = ?, crc = ?, kept = ? WHERE agent = ? AND incarnation = ?",
                    (kept.version, kept.state, kept.check, now, write.agent, write.incarnation),
                )
                if not done.rowcount:
                    there = self._file.execute("SELECT 1 FROM place WHERE agent = ?", (write.agent,)).fetchone()
                    refused[write.agent] = outranked(write.agent) if there else removed(write.agent)
        return refused

    def remove(self, agents: Sequence[str]) -> None:
        """Remove agents with their snapshots."""
        with self._writing():
            self._file.executemany("DELETE FROM place WHERE agent = ?", [(agent,) for agent in agents])

    # transactions and errors ------------------------------------------------------------------------------------------
    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        self._file.execute(begin)
        try:
            yield
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write in one transaction; StateNotKept where it cannot be written."""
        try:
            with self._transaction():
                yield
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _failed(self, error: sqlite3.Error) -> StateNotKept:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            seconds = self._options.within
            return StateNotKept(
                f"another process wrote to {self._name} for more than {seconds:g} s",
                hint="try again, or raise KeepOptions(within=)",
                retryable=True,
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StateNotKept(f"{self._name} is damaged: {error}", hint="restore a copy of it, or give another path")
        return StateNotKept(f"{self._name} cannot be read or written: {error}", hint="is the disk full?")

    def _unusable(self, error: Exception) -> ConfigurationError:
        """Return the error of a file that cannot be opened."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged:
            return ConfigurationError(
                f"{self._name} is no file of snapshots, or it is damaged: {error}",
                hint="restore a copy of it, or give OrchestratorOptions(keep=) another path",
            )
        return ConfigurationError(
            f"the file of snapshots {self._name} cannot be used: {getattr(error, 'strerror', None) or error}",
            hint="is its folder there, is it yours to write to, is the disk full?",
        )

    # tables -----------------------------------------------------------------------------------------------------------
    def _is_made(self) -> bool:
        """Return whether the table is there; ConfigurationError for a file of another program or a newer version."""
        application = self._file.execute("PRAGMA application_id").fetchone()[0]
        version = self._file.execute("PRAGMA user_version").fetchone()[0]
        if application == APPLICATION and version > VERSION:
            raise ConfigurationError(
                f"{self._name} was written by a newer version: its schema is {version}, this one knows {VERSION}",
                hint="upgrade three-mode",
            )
        tables = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION and (tables or application or version):
            raise ConfigurationError(
                f"{self._name} is a file of another program", hint="give OrchestratorOptions(keep=) another path"
            )
        return bool(application == APPLICATION)

    def _make(self) -> None:
        """Make the table; of two processes that come at once, one does."""
        if self._is_made():
            return
        self._file.execute(_TABLE)
        self._file.execute(f"PRAGMA application_id={APPLICATION}")
        self._file.execute(f"PRAGMA user_version={VERSION}")
