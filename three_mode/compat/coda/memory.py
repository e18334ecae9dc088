"""`MemoryManager`: what is known from earlier conversations. `three_mode.memory` keeps and finds it."""

import re
from collections.abc import Sequence
from pathlib import Path

from three_mode.memory import Memory, Recollection
from three_mode.messages import Message
from three_mode.prompts import EnhancedMessages

_ASKS = re.compile(r"\s*(please[, ]+)?(remember|note|keep in mind)\b", re.IGNORECASE)


class MemoryManager:
    """Memories in one file, or in memory. What a user asks to remember is kept; each turn is told what is near to it,
    marked as data."""

    def __init__(self, path: str | Path | None = None, *, namespace: str = "default") -> None:
        self.memory = Memory(path, namespace=namespace)

    def asks_to_remember(self, text: str) -> bool:
        """Whether a user's words are to be kept. A subclass may say otherwise."""
        return _ASKS.match(text) is not None

    async def remember(self, text: str, *, reference: str = "") -> Recollection:
        """Keeps a text."""
        return await self.memory.remember(text, source="user", reference=reference)

    async def search(self, query: str, limit: int | None = None) -> list[Recollection]:
        """The memories nearest to a query."""
        return await self.memory.recall(query, limit=limit)

    async def recalled(self, messages: Sequence[Message]) -> EnhancedMessages:
        """The messages of a turn with what is known about them."""
        return await self.memory.recalled(messages)

    async def close(self) -> None:
        """Closes the file; the memories in it stay."""
        await self.memory.close()
