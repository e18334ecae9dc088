"""Memory: pinned blocks, and an archive that is searched by words and, where a model embeds, by meaning."""

from three_mode.memory.memory import Memory
from three_mode.memory.values import Embedder, MemoryBlock, MemoryOptions, Recollection

__all__ = ["Embedder", "Memory", "MemoryBlock", "MemoryOptions", "Recollection"]
