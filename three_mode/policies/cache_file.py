"""Cache of replies in a file (SQLite), which processes share and which survives a restart.

Only its owner may read it.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from three_mode.errors import ConfigurationError
from three_mode.messages import LLMResponse, from_msgpack, to_msgpack
from three_mode.observe.logs import logger
from three_mode.policies.cache import CacheOptions, digest

T = TypeVar("T")
_VERSION = 3  # of the content; a file of another version is emptied
_TABLE = (
    "CREATE TABLE IF NOT EXISTS reply "
    "(key BLOB PRIMARY KEY, value BLOB, expires REAL, used REAL, size INTEGER) WITHOUT ROWID"
)


class FileCache:
    """Cache in a file. One thread reads and writes it, so that the event loop never waits for the disk.

    A damaged entry is a miss, and so is a file that fails; `failed` counts failures. Keys are stored as digests: the
    file holds no request.
    """

    def __init__(self, options: CacheOptions, wall: Callable[[], float] = time.time) -> None:
        if options.path is None:
            raise ConfigurationError("a file cache needs CacheOptions(path=...)")
        self._options = options
        self._wall = wall
        self._path = Path(options.path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="three-mode-cache")
        self._file: sqlite3.Connection | None = None
        self._opening = threading.Lock()
        self.hits = self.misses = self.failed = 0

    async def get(self, key: bytes) -> LLMResponse | None:
        """The reply stored under a key, or None."""
        reply = await self._run(lambda: self._tried(lambda: self._get(digest(key))))
        if reply is None:
            self.misses += 1
        else:
            self.hits += 1
        return reply

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """Stores a reply for `ttl` seconds; None: as the options say."""
        lasts = self._options.ttl if ttl is None else ttl
        try:
            await self._run(lambda: self._tried(lambda: self._put(digest(key), to_msgpack(reply), lasts)))
        except ConfigurationError as error:  # the file is gone; the caller still has its reply
            self._log_failure(error)

    async def close(self) -> None:
        """Closes the file; its replies stay."""
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _tried(self, work: Callable[[], T]) -> T | None:
        """Result of `work`, or None where the file fails: a full disk or a lock fails no call.

        The next use opens it again.
        """
        try:
            return work()
        except sqlite3.Error as error:
            self._log_failure(error)
            self._close()
            return None

    def _log_failure(self, error: Exception) -> None:
        self.failed += 1
        logger.warning("cache_failed", extra={"event": "cache_failed", "error": str(error)})

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
                os.close(descriptor)
                file = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
                file.execute("PRAGMA journal_mode=WAL")
                file.execute("PRAGMA synchronous=NORMAL")
                if file.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    file.execute("DROP TABLE IF EXISTS reply")
                    file.execute(f"PRAGMA user_version={_VERSION}")
                file.execute(_TABLE)
            except (OSError, sqlite3.Error) as error:
                raise ConfigurationError(
                    f"the cache file {self._path.name} cannot be used: {error}",
                    hint="delete it, or give CacheOptions(path=...) another place",
                ) from None
            self._file = file
        return self._file

    def _get(self, key: bytes) -> LLMResponse | None:
        file, now = self._open(), self._wall()
        row = file.execute("SELECT value, expires FROM reply WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            if row[1] <= now:
                raise ValueError("it has expired")
            reply = from_msgpack(LLMResponse, row[0])
        except ValueError:  # expired, or not what we wrote
            file.execute("DELETE FROM reply WHERE key = ?", (key,))
            return None
        file.execute("UPDATE reply SET used = ? WHERE key = ?", (now, key))
        return reply

    def _put(self, key: bytes, value: bytes, ttl: float) -> None:
        if len(value) > self._options.max_bytes:
            return
        file, now = self._open(), self._wall()
        file.execute("INSERT OR REPLACE INTO reply VALUES (?, ?, ?, ?, ?)", (key, value, now + ttl, now, len(value)))
        self._evict(file, now)

    def _evict(self, file: sqlite3.Connection, now: float) -> None:
        """Removes expired entries, then the least recently used ones."""
        excess = self._excess(file)
        if excess is None:
            return
        file.execute("DELETE FROM reply WHERE expires <= ?", (now,))
        while (excess := self._excess(file)) is not None:
            oldest = "SELECT key FROM reply ORDER BY used LIMIT ?"
            file.execute(f"DELETE FROM reply WHERE key IN ({oldest})", (max(1, excess),))  # noqa: S608 - no input in it

    def _excess(self, file: sqlite3.Connection) -> int | None:
        """Number of entries above the limit; 0 where only their size is above it, None where neither is."""
        count, size = file.execute("SELECT count(*), coalesce(sum(size), 0) FROM reply").fetchone()
        if count > self._options.entries:
            return int(count - self._options.entries)
        return 0 if size > self._options.max_bytes else None

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
