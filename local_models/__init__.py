"""Runs GGUF models in this process; knows nothing of modes, agents or the network."""

from local_models.errors import (
    BadGrammar,
    BadModelFile,
    BadOption,
    BadTemplate,
    DeadlineExceeded,
    DownloadFailed,
    EngineFailed,
    EngineMissing,
    LocalModelError,
    ModelClosed,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    PromptTooLong,
    WorkerDied,
)
from local_models.options import Generate, LoadOptions, Lora
from local_models.replies import Piece, Reply, Statistics, TokenScore, ToolCall, Usage

__all__ = [
    "BadGrammar", "BadModelFile", "BadOption", "BadTemplate", "DeadlineExceeded", "DownloadFailed", "EngineFailed",
    "EngineMissing", "Generate", "LoadOptions", "LocalModelError", "Lora", "ModelClosed", "ModelNotFound",
    "OutOfMemory", "Overloaded", "Piece", "PromptTooLong", "Reply", "Statistics", "TokenScore", "ToolCall", "Usage",
    "WorkerDied",
]  # fmt: skip
