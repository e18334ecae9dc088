"""What tests of the memory share: a model that embeds, in the test itself."""

from collections.abc import Sequence
from typing import Any

from three_mode.errors import ConnectionFailed


class Meanings:
    """Embeds texts by what they are about: a word of a group counts for the dimension of the group."""

    GROUPS = (("tea", "coffee", "drink", "beverage"), ("cat", "dog", "pet"), ("car", "bicycle", "vehicle"))

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, tuple[str, ...]]] = []
        self.fails = False

    async def embed(self, model: str | None, texts: str | Sequence[str], *, within: float | None = None) -> Any:
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        self.calls.append((model, texts))
        if self.fails:
            raise ConnectionFailed("no embedding now")
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        words = text.lower().split()
        return [0.1 + sum(word.strip(".?!s") in group for word in words) for group in self.GROUPS]


class Wall:
    """Clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
