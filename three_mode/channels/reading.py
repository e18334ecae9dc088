"""A streamed reply read through a decoder: up to its first content, then on, whatever the pieces come from."""

from three_mode.channels.channel import is_content
from three_mode.messages import Chunk
from three_mode.providers.codec import ChunkDecoder


class DecodedReply:
    """A subclass says where pieces come from: `_read` gives the chunks of the next one, and sets `_ended` after the last."""

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
