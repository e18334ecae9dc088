"""Log of one conversation together with its file: rows are written there first, and then taken in here."""

from collections.abc import Sequence

from three_mode.conversations.log import TalkLog
from three_mode.conversations.rows import LoadedRows
from three_mode.conversations.store import ConversationStore, Draft
from three_mode.errors import ConversationError

READ_BACK = 2  # windows of tokens that are read from the end of a conversation


class KeptLog:
    """The log of one conversation, as far back as windows need it."""

    def __init__(self, store: ConversationStore, talk: int, name: str, tokens: int, first: int) -> None:
        self.store, self.talk, self.name = store, talk, name
        self._tokens, self._first = tokens, first
        self.log = TalkLog()

    async def load(self) -> None:
        """Read the end of the conversation anew."""
        with _Named(self.name):
            self.log = _log_of(await self.store.load(self.talk, READ_BACK * self._tokens, self._first))

    async def load_all(self) -> TalkLog:
        """All of it, apart from what is held here."""
        with _Named(self.name):
            return _log_of(await self.store.load_all(self.talk))

    async def refresh(self) -> None:
        """Take in what others have written."""
        await self.try_write(())

    async def try_write(self, drafts: Sequence[Draft]) -> bool:
        """Write rows; False where others have written in between: their rows are taken in, and nothing is written."""
        with _Named(self.name):
            done = await self.store.append(self.talk, self.log.last, drafts)
            if done.missed:
                self.log.apply(done.missed)
            else:
                self.log.apply_written(done.written, (draft.body for draft in drafts))
        return not done.missed

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Write rows behind whatever others have written."""
        while not await self.try_write(drafts):
            pass

    def write_later(self, drafts: Sequence[Draft]) -> None:
        """Write rows without waiting. They are taken in with the next write."""
        self.store.append_later(self.talk, drafts)


def _log_of(loaded: LoadedRows) -> TalkLog:
    log = TalkLog()
    log.apply(loaded.entries)
    log.last = loaded.last
    return log


class _Named:
    """Errors of conversations get the name of theirs."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ConversationError) and error.conversation is None:
            error.conversation = self._name
