"""GGUF files: read and checked before llama.cpp sees them, written for tests and for models of our own."""

from local_models.gguf.check import check
from local_models.gguf.reader import Header, Tensor, read
from local_models.gguf.summary import Summary, summarize
from local_models.gguf.writer import write

__all__ = ["Header", "Summary", "Tensor", "check", "read", "summarize", "write"]
