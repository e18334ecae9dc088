"""SQLite's write-ahead log: the journal that lets others read a file while one process writes to it."""

import sqlite3
import time


def use_wal(file: sqlite3.Connection, within: float) -> None:
    """Sets the mode of the journal. SQLite does not wait for another process that does the same at that moment; this
    does, for `within` seconds."""
    until = time.monotonic() + within
    while True:
        try:
            file.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
