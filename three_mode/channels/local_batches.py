"""A local model's answer in batches of chunks: what came together goes on together, as a message on the bus or a write to a socket."""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

from local_models import Lease, LocalModelError, Piece, PieceStream
from three_mode.channels import ai_pc_wire as wire
from three_mode.messages import Chunk, Start, TextDelta
from three_mode.modes import CommunicationMode

AtOnce = Callable[[list[Chunk]], bool]  # sends a batch from any thread, or says that it cannot
Take = Callable[[Sequence[Piece]], bool]


class LocalBatches:
    """For one reader, who closes it: that ends the call, and lets go of the model. An object and not a generator, since every
    generator on the way of a token is one more thing to resume.

    What the engine's thread can send `at_once` the reader does not see, only what comes after the first that it could not.
    """

    __slots__ = ("_at_once", "_begin", "_lease", "_model", "_over", "_sent", "_started", "_stream", "_told")

    def __init__(
        self,
        begin: Callable[[Take | None], Awaitable[tuple[PieceStream, Lease]]],
        model: str,
        at_once: AtOnce | None = None,
    ) -> None:
        self._begin, self._model, self._at_once = begin, model, at_once
        self._told = self._sent = (
            False  # its beginning; its end: by the engine's thread, which has let go when we look
        )
        self._stream: PieceStream | None = None
        self._lease: Lease | None = None
        self._started = 0.0
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Chunk]:
        if self._over:
            raise StopAsyncIteration
        try:
            stream = self._stream
            if stream is None:
                self._stream, self._lease = stream, _ = await self._begin(
                    self._take if self._at_once else None
                )
                self._started = time.monotonic()
            while pieces := await stream.batch():
                if self._sent:
                    break
                if batch := self._made(pieces):
                    return batch
        except LocalModelError as error:
            self.close()
            raise wire.error_of(error, self._model) from error
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopAsyncIteration

    def _made(self, pieces: Sequence[Piece]) -> list[Chunk]:
        """[] for text held back, because it may become a tool call. The start goes with the first content, which it would only
        delay."""
        batch: list[Chunk] = []
        for piece in pieces:
            if piece.finish is None:  # by far the most of them
                if piece.text:
                    batch.append(TextDelta(piece.text))
            else:
                batch += wire.chunks_of_piece(piece, time.monotonic() - self._started)
        if batch and not self._told:
            self._told = True
            batch.insert(0, Start(shown(self._model), wire.PROVIDER, CommunicationMode.AI_PC))
        return batch

    def _take(self, pieces: Sequence[Piece]) -> bool:
        """On the engine's thread, up to the first time that it says no."""
        assert self._at_once is not None
        told, batch = self._told, self._made(pieces)
        if batch and not self._at_once(batch):
            self._told = told
            return False
        self._sent = pieces[-1].finish is not None
        return True

    def close(self) -> None:
        self._over = True
        if self._stream is not None:
            self._stream.cancel()
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    async def aclose(self) -> None:
        self.close()


def shown(name: str) -> str:
    """`models/tiny.gguf` is `tiny` in a reply: a path of this machine is nobody else's business."""
    return Path(name).stem if name.lower().endswith(".gguf") else name
