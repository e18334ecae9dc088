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
from local_models.model import LocalModel
from local_models.options import Generate, LoadOptions, Lora
from local_models.pool import ModelPool
from local_models.replies import Piece, Reply, Statistics, TokenScore, ToolCall, Usage
from local_models.stream import PieceStream
from local_models.sync import SyncModel

__all__ = [
    "BadGrammar", "BadModelFile", "BadOption", "BadTemplate", "DeadlineExceeded", "DownloadFailed", "EngineFailed",
    "EngineMissing", "Generate", "LoadOptions", "LocalModel", "LocalModelError", "Lora", "ModelClosed", "ModelNotFound",
    "ModelPool", "OutOfMemory", "Overloaded", "Piece", "PieceStream", "PromptTooLong", "Reply", "Statistics", "SyncModel",
    "TokenScore", "ToolCall", "Usage", "WorkerDied",
]  # fmt: skip
