"""GGUF files: read, checked before llama.cpp sees them, summarized for people, and written."""

from typing import TYPE_CHECKING

from local_models.gguf.check import check
from local_models.gguf.reader import Header, Tensor, read
from local_models.gguf.summary import Summary, summarize
from local_models.lazy import lazy_names

if TYPE_CHECKING:
    from local_models.gguf.writer import write as write

__all__ = ["Header", "Summary", "Tensor", "check", "read", "summarize", "write"]

__getattr__ = lazy_names(__name__, {"write": "local_models.gguf.writer"})  # needs numpy, which reading does not
