"""GGUF files: read and checked before llama.cpp sees them, described for people. `gguf.writer` writes them."""

from local_models.gguf.check import check
from local_models.gguf.reader import Header, Tensor, read
from local_models.gguf.summary import Summary, summarize

__all__ = ["Header", "Summary", "Tensor", "check", "read", "summarize"]
