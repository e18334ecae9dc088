"""A streamed reply out of batches of chunks, wherever they come from: with its first content here, and a way to leave at once."""

import asyncio
from collections.abc import AsyncIterator, Callable

from three_mode.channels.channel import is_content
from three_mode.errors import DeadlineExceeded
from three_mode.messages import Chunk


class BatchReply:
    """`leave` ends the far side and never waits. Made by `open_batches`."""

    def __init__(self, batches: AsyncIterator[list[Chunk]], leave: Callable[[], None], what: str) -> None:
        self._batches, self._leave, self._what = batches, leave, what
        self._first: list[Chunk] = []
        self._ended = False

    async def begin(self, due: float | None) -> None:
        """Reads up to the first content, which must be there when it is due. None: whoever makes it keeps the time."""
        if due is None:
            await self._until_content()
            return
        try:
            async with asyncio.timeout_at(due):
                await self._until_content()
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded(f"{self._what}: no content came in the time allowed", stage="first token") from None

    async def _until_content(self) -> None:
        while not any(map(is_content, self._first)):
            batch = await self._next()
            if not batch:  # it has ended
                return
            self._first += batch

    async def more(self) -> list[Chunk]:
        if self._first:
            first, self._first = self._first, []
            return first
        return [] if self._ended else await self._next()

    async def _next(self) -> list[Chunk]:
        """[] at the end only: a batch with nothing in it is text held back, because it may become a tool call."""
        async for batch in self._batches:
            if batch:
                return batch
        self._ended = True
        return []

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._leave()


async def open_batches(
    batches: AsyncIterator[list[Chunk]], leave: Callable[[], None], due: float | None, what: str
) -> BatchReply:
    """The reply, once its first content is here; whatever prevents that has ended the far side."""
    reply = BatchReply(batches, leave, what)
    try:
        await reply.begin(due)
    except BaseException:
        reply.close()
        raise
    return reply
