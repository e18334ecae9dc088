"""A local model's answer in batches of chunks: what came together goes on together, as a message on the bus or a write to a socket."""

from collections.abc import Awaitable, Callable
from typing import Self

from local_models import Lease, LocalModelError, PieceStream
from three_mode.channels import ai_pc_wire as wire
from three_mode.channels.local_chunks import LocalChunks
from three_mode.messages import Chunk


class LocalBatches:
    """For one reader, who closes it: that ends the call, and lets go of the model. An object and not a generator, since every
    generator on the way of a token is one more thing to resume."""

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
                if batch := self._chunks.of(pieces):
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
