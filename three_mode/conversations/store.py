"""Store of conversations: all reads and writes of one file, on one thread of their own.

Every write is one transaction: after a kill at any moment the file holds whole rows, and a turn is there or it is not.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from three_mode.conversations import rows
from three_mode.conversations.entries import Answered, Body, Round, Said
from three_mode.conversations.rows import AppendedRows, ListedTalk, LoadedRows, MatchedRow
from three_mode.conversations.schema import MEMORY, error_of, open_file
from three_mode.errors import ConfigurationError, ConversationBusy, ConversationError
from three_mode.file_thread import FileThread, ThreadClosed
from three_mode.messages import LLMRequest, Message
from three_mode.observe.logs import logger
from three_mode.providers.estimate import estimate_tokens

T = TypeVar("T")
_TRIES = 20  # to open a file that another process is just making
_PAUSE = 0.02
_INDEX_AT = 512  # rows that are indexed in one go


class Draft(NamedTuple):
    """A row that is to be written."""

    turn: int
    body: Body
    tokens: int = 0
    at: int = 0  # seconds since 1970; 0: now


def said_draft(turn: int, messages: tuple[Message, ...], at: int = 0) -> Draft:
    """The row that begins a turn."""
    return Draft(turn, Said(messages), _tokens(messages), at)


def round_draft(turn: int, messages: tuple[Message, ...]) -> Draft:
    """A row in the middle of a turn."""
    return Draft(turn, Round(messages), _tokens(messages))


def answered_draft(turn: int, answered: Answered, at: int = 0) -> Draft:
    """The row that ends a turn."""
    return Draft(turn, answered, _tokens(answered.messages), at)


def _tokens(messages: tuple[Message, ...]) -> int:
    """About how many tokens messages are, for any model: how far back to read at the next start."""
    return estimate_tokens(LLMRequest(messages=messages), "") if messages else 0


class ConversationStore:
    """One file. `busy` is how many seconds it waits for other processes that write to it."""

    def __init__(self, path: str | Path, busy: float, durable: bool, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._name = "memory" if str(path) == MEMORY else Path(path).name
        self._busy, self._durable, self._wall = busy, durable, wall
        self._thread = FileThread("three-mode-conversations")
        self._file: sqlite3.Connection | None = None
        self._fresh = 0  # rows written since the last that were indexed
        self._grown = False  # whether the index has new segments

    # On any thread

    async def open(self) -> None:
        """Open the file, or make it."""
        await self._run(self._open)

    async def close(self) -> None:
        """Write what is left to write, and close the file."""
        await self._run(self._index)
        await self._run(self._close)
        self._thread.close()

    async def find(self, name: str) -> int | None:
        """The id of a conversation; None: there is none of that name."""
        return await self._read(lambda file: rows.find(file, name))

    async def create(
        self, name: str, drafts: Sequence[Draft] = (), *, parent: int | None = None, upto: int = 0, fresh: bool = False
    ) -> int:
        """A new conversation with first rows; the id of the one that is there already, if another was quicker. With
        `fresh` that is a ConversationError."""
        at = int(self._wall())
        encoded = rows.encoded(drafts, at)
        return await self._write(lambda file: rows.create(file, name, encoded, at, parent, upto, fresh))

    async def load(self, talk: int, tokens: int, first: int) -> LoadedRows:
        """The end of a conversation, at least `tokens` of it, its first `first` messages, and all its marks."""
        return await self._read(lambda file: rows.load(file, talk, tokens, first))

    async def load_all(self, talk: int) -> LoadedRows:
        """All rows of a conversation."""
        return await self._read(lambda file: rows.load_all(file, talk))

    async def append(self, talk: int, known: int, drafts: Sequence[Draft]) -> AppendedRows:
        """Write rows behind the row `known`. Where others have written since, write nothing and give their rows."""
        encoded = rows.encoded(drafts, int(self._wall()))
        done = await self._write(lambda file: rows.append(file, talk, known, encoded))
        self._fresh += len(done.written)
        if self._fresh >= _INDEX_AT:
            self._fresh = 0
            self._submit(self._index)
        return done

    def append_later(self, talk: int, drafts: Sequence[Draft]) -> None:
        """Write rows behind whatever is the last row then. Waits for nothing: for a caller that was cancelled."""
        encoded = rows.encoded(drafts, int(self._wall()))

        def work() -> None:
            self._in_transaction(lambda file: rows.append(file, talk, None, encoded))

        self._submit(work)

    async def delete(self, talk: int) -> None:
        """Delete a conversation, its words in the index, and what the file's journal has of it."""
        await self._write(lambda file: rows.delete(file, talk))
        await self._read(rows.wipe)

    async def listed(self, prefix: str, most: int, offset: int) -> list[ListedTalk]:
        """Conversations whose names begin with a prefix, the latest first."""
        return await self._read(lambda file: rows.listed(file, prefix, most, offset))

    async def search(self, words: str, talk: int | None, most: int) -> list[MatchedRow]:
        """Rows that hold all words, the latest first."""
        if await self._read(rows.has_fresh):
            await self._write(rows.index)
        return await self._read(lambda file: rows.search(file, words, talk, most))

    # On its own thread

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._thread.run(work)
        except ThreadClosed:
            raise _closed() from None

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._thread.submit(work)
        except ThreadClosed:
            raise _closed() from None

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(lambda: self._guarded(work))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(lambda: self._in_transaction(work))

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        file = self._open()
        try:
            return work(file)
        except sqlite3.Error as error:
            raise error_of(error, self._name) from error

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def whole(file: sqlite3.Connection) -> T:
            file.execute("BEGIN IMMEDIATE")
            try:
                result = work(file)
                file.execute("COMMIT")
            except BaseException:
                if file.in_transaction:
                    file.execute("ROLLBACK")
                raise
            return result

        return self._guarded(whole)

    def _index(self) -> None:
        """Index what is not yet. Where that fails, the next search does it."""
        if self._file is None:
            return
        try:
            if rows.has_fresh(self._file):
                self._in_transaction(rows.index)
                self._grown = True
        except (ConversationError, sqlite3.Error) as error:
            logger.warning("index_failed", extra={"event": "index_failed", "error": str(error)})

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            for left in reversed(range(_TRIES)):
                try:
                    self._file = open_file(self.path, self._busy, self._durable)
                    break
                except ConversationBusy:  # SQLite does not wait while a file changes to WAL
                    if not left:
                        raise
                    time.sleep(_PAUSE)
        assert self._file is not None
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            try:
                if self._grown:
                    rows.merge(self._file)
                rows.shrink(self._file)
            except sqlite3.Error as error:  # another process writes: it will do it
                logger.debug("shrink_failed", extra={"event": "shrink_failed", "error": str(error)})
            self._file.close()
            self._file = None


def _closed() -> ConfigurationError:
    return ConfigurationError("these conversations are closed", hint="use them inside `async with Conversations(...)`")
