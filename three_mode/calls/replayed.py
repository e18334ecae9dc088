"""An open reply of chunks that are here already: a cache's, or one that had to be read whole first."""

from collections.abc import Iterable

from three_mode.messages import Chunk


class Replayed:
    """Gives all at once."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = list(chunks)

    async def more(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        return chunks

    def close(self) -> None:
        self._chunks = []
