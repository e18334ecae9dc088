"""The file of a memory and the one thread that reads and writes it, so that no event loop waits for the disk."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from three_mode.errors import ConfigurationError, Overloaded
from three_mode.memory.schema import open_file
from three_mode.memory.values import MemoryOptions
from three_mode.memory.vectors import VectorSearch

T = TypeVar("T")


class MemoryFile:
    """Runs work on the file, one after the other. It opens with the first work, and anew in a forked child."""

    def __init__(self, path: str | Path | None, options: MemoryOptions) -> None:
        self.path = path
        self.options = options
        self.vectors = VectorSearch(options.vector_cache)
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._parents: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Result of `work`, done with the file in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._running(), self._do, work)

    async def close(self) -> None:
        """Closes the file; what was written stays. Closing twice does no harm."""
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        if thread is not None and self._process == os.getpid():
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=False)

    def _running(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise ConfigurationError("the memory is closed")
            if self._thread is None or self._process != os.getpid():
                if self._process != os.getpid():
                    if self.path is None:
                        raise ConfigurationError(
                            "a memory without a file cannot be used in a forked child", hint="give it a path"
                        )
                    self._parents = self._connection  # kept open: closing it here would drop the parent's locks
                    self._connection, self._process = None, os.getpid()
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="three-mode-memory")
            return self._thread

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The only place where errors of SQLite become ours."""
        if self._connection is None:
            self._connection = open_file(self.path, self.options.busy_within)
        try:
            return work(self._connection)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Overloaded(
                    f"another process wrote to the memory file for more than {self.options.busy_within} s",
                    hint="try again, or raise MemoryOptions.busy_within",
                ) from None
            raise self._unusable(error) from None
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> ConfigurationError:
        name = "in memory" if self.path is None else Path(self.path).name
        return ConfigurationError(f"the memory file {name} cannot be used: {error}", hint="is the disk full?")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
