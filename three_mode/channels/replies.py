"""Streamed replies of every channel: out of batches, bytes or chunks that are here; with emulated tools taken out; with
their cost settled."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec

from three_mode.channels.channel import OpenReply, is_content, too_large
from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.messages import (
    Chunk,
    Finish,
    LLMResponse,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageUpdate,
    fold,
)
from three_mode.policies import Target
from three_mode.providers.codec import ChunkDecoder
from three_mode.providers.emulation import CallsInText
from three_mode.providers.estimate import estimate_text
from three_mode.providers.pieces import encode_json


class BatchReply:
    """`leave` ends the far side and never waits. Made by `open_batches`."""

    def __init__(
        self, batches: AsyncIterator[list[Chunk]], leave: Callable[[], None], what: str, most: int | None = None
    ) -> None:
        self._batches, self._leave, self._what = batches, leave, what
        self._most, self._taken = most, 0
        self._first: list[Chunk] = []
        self._ended = False

    async def begin(self, due: float | None) -> None:
        """Reads up to the first content, which must be there when it is due. None: its maker keeps the time."""
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
                return self._counted(batch)
        self._ended = True
        return []

    def _counted(self, batch: list[Chunk]) -> list[Chunk]:
        """The batch, if the reply is not too large with it."""
        if self._most is not None:
            self._taken += sum(map(chunk_weight, batch))
            if self._taken > self._most:
                raise too_large(self._what, None, self._most)
        return batch

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._leave()


async def open_batches(
    batches: AsyncIterator[Any],
    leave: Callable[[], None],
    due: float | None,
    what: str,
    most: int | None = None,
    kind: type[BatchReply] = BatchReply,
) -> BatchReply:
    """The reply, once its first content is here; whatever prevents that has ended the far side. `most` is the bytes
    that its chunks may take; None: its maker bounds them."""
    reply = kind(batches, leave, what, most)
    try:
        await reply.begin(due)
    except BaseException:
        reply.close()
        raise
    return reply


class DecodedReply:
    """A subclass says where pieces come from: `_read` gives the chunks of the next one, and sets `_ended` after the
    last."""

    def __init__(self, decoder: ChunkDecoder) -> None:
        self._decoder = decoder
        self._first: list[Chunk] = []
        self._ended = False

    async def _until_content(self) -> None:
        """An error before any content is raised here; one after it comes when what was before it has been given."""
        while not any(map(is_content, self._first)) and not self._ended:
            self._first += await self._read()
            if self._decoder.error is not None and not any(map(is_content, self._first)):
                raise self._decoder.error

    async def more(self) -> list[Chunk]:
        if self._first:
            batch, self._first = self._first, []
            return batch
        while not self._ended:
            if self._decoder.error is not None:
                raise self._decoder.error
            batch = await self._read()
            if batch:
                return batch
        if self._decoder.error is not None:
            raise self._decoder.error
        return []

    async def _read(self) -> list[Chunk]:
        raise NotImplementedError


class ReadyReply:
    """Gives all at once."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = list(chunks)

    async def more(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        return chunks

    def close(self) -> None:
        self._chunks = []


class EmulatedToolsReply:
    """Text between calls is a block of its own, so that folding the chunks gives what a whole reply gives."""

    def __init__(self, opened: OpenReply) -> None:
        self._opened = opened
        self._calls = CallsInText()
        self._index = 0
        self._error: ThreeModeError | None = None

    async def more(self) -> list[Chunk]:
        out: list[Chunk] = []
        while not out:
            if self._error is not None:
                raise self._error
            try:
                batch = await self._opened.more()
            except ThreeModeError as error:  # what was held back comes before it
                self._error = error
                self._give(self._calls.finish(), out)
                continue
            if not batch:
                break
            for chunk in batch:
                self._pass_on(chunk, out)
        return out

    def close(self) -> None:
        self._opened.close()

    def _pass_on(self, chunk: Chunk, out: list[Chunk]) -> None:
        if isinstance(chunk, TextDelta):
            self._give(self._calls.feed(chunk.text), out)
        elif isinstance(chunk, Finish):
            self._give(self._calls.finish(), out)
            asked = self._calls.found and chunk.reason == "stop"
            out.append(msgspec.structs.replace(chunk, reason="tool_calls") if asked else chunk)
        else:
            out.append(chunk)

    def _give(self, pieces: list[Text | ToolCall], out: list[Chunk]) -> None:
        for piece in pieces:
            if isinstance(piece, Text):
                out.append(TextDelta(piece.text, self._index))
            else:
                arguments = encode_json(piece.arguments).decode()
                out.append(ToolDelta(self._index + 1, piece.id, piece.name, arguments))
                self._index += 2


class AccountedReply:
    """An open reply that settles its account once, when it ends. `ended` gets the usage (as the provider counted it, or
    an estimate of what came), whether the reply came to its end, and the error, if one ended it."""

    def __init__(
        self,
        opened: OpenReply,
        target: Target,
        asked: Callable[[], int],
        ended: Callable[[Usage, bool, BaseException | None], None],
    ) -> None:
        """`asked` estimates the prompt's tokens."""
        self.target = target
        self._opened = opened
        self._asked = asked
        self._ended: Callable[[Usage, bool, BaseException | None], None] | None = ended
        self._usage: Usage | None = None
        self._written: list[str] = []

    async def more(self) -> list[Chunk]:
        try:
            batch = await self._opened.more()
        except Exception as error:
            self._broke_off(error)
            raise
        for chunk in batch:
            if type(chunk) is TextDelta:
                self._written.append(chunk.text)
            elif type(chunk) is ThinkingDelta:
                self._written.append(chunk.thinking)
            elif type(chunk) is UsageUpdate:
                self._usage = chunk.usage
            elif type(chunk) is Finish:
                self._end(self._usage or Usage(), True, None)
        return batch

    def close(self) -> None:
        self._opened.close()
        self._broke_off(None)

    def _broke_off(self, error: BaseException | None) -> None:
        """Settle a reply that broke off by an estimate, where the provider did not count what it wrote."""
        usage = self._usage
        if usage is None or not usage.output_tokens:
            written = estimate_text("".join(self._written))
            usage = Usage(usage.input_tokens if usage else self._asked(), written)
        self._end(usage, False, error)

    def _end(self, usage: Usage, whole: bool, error: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(usage, whole, error)


def chunk_weight(chunk: Chunk) -> int:
    """About how many bytes a piece takes in memory."""
    if type(chunk) is TextDelta:
        return 100 + len(chunk.text)
    if type(chunk) is ThinkingDelta:
        return 100 + len(chunk.thinking) + len(chunk.redacted or "")
    return 100 + (len(chunk.arguments) if type(chunk) is ToolDelta else 200)


async def folded(opened: OpenReply) -> LLMResponse:
    """A streamed reply as a whole one. Closes it."""
    chunks: list[Chunk] = []
    try:
        while batch := await opened.more():
            chunks += batch
    finally:
        opened.close()
    return fold(chunks)
