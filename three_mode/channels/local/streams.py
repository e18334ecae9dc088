"""Streams of a local model: its pieces as chunks, in batches for one reader, or sent by the engine's own thread.

`LocalFlow` is a local model's answer on its way to the bus without a coroutine of ours: the engine's own thread sends
it. Between a token and its reader in another process stood the loop of the model's process, which had to wake up, and
took the engine's core for it. Now that loop begins the answer and hears of its end. What cannot be sent at once (its
reader gives no credit, the ring is full) goes by the loop, and so does all that comes after it: the order stays, and
the engine never waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from local_models import Lease, LocalModelError, Piece, PieceStream, TokenScore, Usage
from three_mode import waits
from three_mode.channels.local import values as wire
from three_mode.messages import Chunk, Start, TextDelta, ThinkingDelta
from three_mode.modes import HUGGING_FACE, CommunicationMode


class LocalChunks:
    """Makes the chunks of one answer."""

    __slots__ = ("_model", "_scores", "_started", "began", "usage")

    def __init__(self, model: str) -> None:
        self._model, self._started = model, time.monotonic()
        self._scores: list[TokenScore] = []  # of all pieces, where they were asked for
        self.began = False
        """Its start was among what was made. It goes with the first content, which it would only delay."""
        self.usage: Usage | None = None
        """What the answer used, once its end was among what was made."""

    def of(self, pieces: Sequence[Piece]) -> list[Chunk]:
        """[] for text held back, because it may become a tool call."""
        batch: list[Chunk] = []
        for piece in pieces:
            if piece.scores and piece.finish is None:
                self._scores += piece.scores
            if piece.finish is None:  # by far the most of them
                if piece.reasoning:
                    batch.append(ThinkingDelta(piece.reasoning, provider=wire.PROVIDER))
                if piece.text:
                    batch.append(TextDelta(piece.text))
            else:
                self.usage = piece.usage
                batch += wire.chunks_of_piece(piece, time.monotonic() - self._started, tuple(self._scores))
        if batch and not self.began:
            self.began = True
            batch.insert(0, Start(shown(self._model), wire.PROVIDER, CommunicationMode.AI_PC))
        return batch


def shown(name: str) -> str:
    """`models/tiny.gguf` is `tiny` in a reply, and `hf:models/qwen` is `qwen`: a path of this machine is nobody else's
    business."""
    if name.startswith(HUGGING_FACE):
        return Path(name.removeprefix(HUGGING_FACE)).name
    return Path(name).stem if name.lower().endswith(".gguf") else name


def tell_queue(used: Usage) -> None:
    """Tell how long the call that ends now has waited for its place in the batch."""
    if waits.listeners:
        asked = time.perf_counter() - used.total_seconds
        waits.tell("model queue", asked, asked + used.queued_seconds)


class LocalBatches:
    """Batches of chunks for one reader, whose `close` ends the call and lets go of the model. An object and not a
    generator, since every generator on the way of a token is one more thing to resume."""

    __slots__ = ("_begin", "_chunks", "_lease", "_model", "_over", "_stream")

    def __init__(self, begin: Callable[[], Awaitable[tuple[PieceStream, Lease]]], model: str) -> None:
        self._begin, self._model = begin, model
        self._stream: PieceStream | None = None
        self._lease: Lease | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Chunk]:
        if self._over:
            raise StopAsyncIteration
        try:
            stream = self._stream
            if stream is None:
                self._stream, self._lease = stream, _ = await self._begin()
                self._chunks = LocalChunks(self._model)
            while pieces := await stream.batch():
                batch = self._chunks.of(pieces)
                if self._chunks.usage is not None:
                    tell_queue(self._chunks.usage)
                if batch:
                    return batch
        except LocalModelError as error:
            self.close()
            raise wire.error_of(error, self._model) from error
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopAsyncIteration

    def close(self) -> None:
        self._over = True
        if self._stream is not None:
            self._stream.cancel()
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    async def aclose(self) -> None:
        self.close()


class PartSender(Protocol):
    async def send(self, part: list[Chunk]) -> None: ...
    def at_once(self, part: list[Chunk]) -> bool:
        """Send a part at once, from any thread. False: not sent."""
        ...


class LocalFlow:
    """One answer. `begin` gives what is done when all of it has gone; cancelling that ends the call."""

    __slots__ = ("_chunks", "_lease", "_model", "_parts", "_rest", "_sent", "_stream", "_whole")

    def __init__(self, lease: Lease, model: str, parts: PartSender) -> None:
        self._lease, self._model, self._parts = lease, model, parts
        self._chunks = LocalChunks(model)
        self._sent = False  # all of it, by the engine's thread
        self._stream: PieceStream | None = None
        self._rest: asyncio.Task[None] | None = None
        self._whole: asyncio.Future[None]

    def begin(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> "asyncio.Future[None] | None":
        """None: it cannot begin without waiting."""
        try:
            self._stream = self._lease.model.begin(messages, self._take, self._news, **options)
        finally:
            if self._stream is None:
                self._lease.release()
        if self._stream is None:
            return None
        self._whole = asyncio.get_running_loop().create_future()
        self._whole.add_done_callback(self._over)
        return self._whole

    def _take(self, pieces: Sequence[Piece]) -> bool:
        """On the engine's thread, up to the first time that it says no."""
        began = self._chunks.began
        batch = self._chunks.of(pieces)
        if batch and not self._parts.at_once(batch):
            self._chunks.began = began
            return False
        self._sent = pieces[-1].finish is not None
        return True

    def _news(self) -> None:
        """The end, or the first that was not sent."""
        if self._whole.done():
            return
        if self._sent:
            assert self._stream is not None
            self._stream.here()  # its last piece is a copy of what has gone
            self._whole.set_result(None)
        else:
            self._rest = asyncio.ensure_future(self._send_rest())

    async def _send_rest(self) -> None:
        stream, whole = self._stream, self._whole
        assert stream is not None
        try:
            while pieces := await stream.batch():
                if batch := self._chunks.of(pieces):
                    await self._parts.send(batch)
        except LocalModelError as error:
            failed: Exception = wire.error_of(error, self._model)
            failed.__cause__ = error
        except Exception as error:  # noqa: BLE001  # the caller gets it
            failed = error
        else:
            if not whole.done():
                whole.set_result(None)
            return
        if not whole.done():
            whole.set_exception(failed)

    def _over(self, _: "asyncio.Future[None]") -> None:
        if self._chunks.usage is not None:
            tell_queue(self._chunks.usage)
        if self._stream is not None:
            self._stream.cancel()
        if self._rest is not None:
            self._rest.cancel()
        self._lease.release()
