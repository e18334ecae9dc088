"""A local model's answer in batches of chunks: what came together goes on together, as a message on the bus or a write to a socket."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from local_models import Lease, LocalModelError, Piece, PieceStream
from three_mode.channels import ai_pc_wire as wire
from three_mode.messages import Chunk, Start, TextDelta
from three_mode.modes import CommunicationMode


class LocalBatches:
    """For one reader, who closes it: that ends the call, and lets go of the model. An object and not a generator, since every
    generator on the way of a token is one more thing to resume."""

    __slots__ = ("_begin", "_lease", "_model", "_over", "_started", "_stream")

    def __init__(self, begin: Callable[[], Awaitable[tuple[PieceStream, Lease]]], model: str) -> None:
        self._begin, self._model = begin, model
        self._stream: PieceStream | None = None
        self._lease: Lease | None = None
        self._started = 0.0
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Chunk]:
        if self._over:
            raise StopAsyncIteration
        batch: list[Chunk] = []
        least = 0  # chunks that say nothing by themselves
        try:
            stream = self._stream
            if stream is None:
                self._stream, self._lease = stream, _ = await self._begin()
                self._started = time.monotonic()
                # The start goes with the first content, which it would only delay.
                batch.append(Start(shown(self._model), wire.PROVIDER, CommunicationMode.AI_PC))
                least = 1
            while pieces := await stream.batch():
                for piece in pieces:
                    self._add(batch, piece)
                if len(batch) > least:  # else it is text held back, because it may become a tool call
                    return batch
        except LocalModelError as error:
            self.close()
            raise wire.error_of(error, self._model) from error
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopAsyncIteration

    def _add(self, batch: list[Chunk], piece: Piece) -> None:
        if piece.finish is None:  # by far the most of them
            if piece.text:
                batch.append(TextDelta(piece.text))
        else:
            batch += wire.chunks_of_piece(piece, time.monotonic() - self._started)

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
