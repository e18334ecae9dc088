"""Store in a file, for one process: a thread of its own reads and writes, so that no event loop waits for the disk."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from three_mode.agents.keeping.file import SnapshotFile
from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite
from three_mode.errors import ConfigurationError, StateNotKept
from three_mode.file_thread import FileThread, ThreadClosed

T = TypeVar("T")


class FileStore:
    """Store in a file, which opens with the first use."""

    shared = False

    def __init__(self, options: KeepOptions) -> None:
        self._options = options
        self._thread = FileThread("three-mode-kept")
        self._file: SnapshotFile | None = None

    async def open(self) -> None:
        """Open the file now; ConfigurationError where it cannot be used."""
        await self._thread.run(self._opened)

    async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
        return await self._do(lambda file: file.claim(claims))

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        return await self._do(lambda file: file.write(writes))

    async def remove(self, agents: Sequence[str]) -> None:
        await self._do(lambda file: file.remove(agents))

    async def close(self) -> None:
        """Close the file, once what was given before is written."""
        try:
            await self._thread.run(self._close)
        except ThreadClosed:
            return
        self._thread.close()

    async def _do(self, work: Callable[[SnapshotFile], T]) -> T:
        try:
            return await self._thread.run(lambda: work(self._opened()))
        except ThreadClosed:
            raise StateNotKept("this process ends, and keeps nothing any more") from None
        except ConfigurationError as error:  # an agent's error is no error of the settings
            raise StateNotKept(error.message, hint=error.hint) from None

    def _opened(self) -> SnapshotFile:
        if self._file is None:
            self._file = SnapshotFile(self._options)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
