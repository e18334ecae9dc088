"""Runs models of this computer (GGUF here, Hugging Face in a worker); knows nothing of modes, agents or the network.

This module holds names only. Each is imported when it is first used, so that reading the catalogue loads no engine.
"""

from typing import TYPE_CHECKING

from local_models.lazy import lazy_names

if TYPE_CHECKING:
    from local_models.errors import BadGrammar as BadGrammar
    from local_models.errors import BadModelFile as BadModelFile
    from local_models.errors import BadOption as BadOption
    from local_models.errors import BadTemplate as BadTemplate
    from local_models.errors import DeadlineExceeded as DeadlineExceeded
    from local_models.errors import DownloadFailed as DownloadFailed
    from local_models.errors import EngineFailed as EngineFailed
    from local_models.errors import EngineMissing as EngineMissing
    from local_models.errors import LocalModelError as LocalModelError
    from local_models.errors import ModelClosed as ModelClosed
    from local_models.errors import ModelNotFound as ModelNotFound
    from local_models.errors import OutOfMemory as OutOfMemory
    from local_models.errors import Overloaded as Overloaded
    from local_models.errors import PromptTooLong as PromptTooLong
    from local_models.errors import UnfitAnswer as UnfitAnswer
    from local_models.errors import WorkerDied as WorkerDied
    from local_models.model import LocalModel as LocalModel
    from local_models.options import Generate as Generate
    from local_models.options import GenerateChanges as GenerateChanges
    from local_models.options import LoadOptions as LoadOptions
    from local_models.options import Lora as Lora
    from local_models.pool import Lease as Lease
    from local_models.pool import ModelPool as ModelPool
    from local_models.replies import Piece as Piece
    from local_models.replies import Reply as Reply
    from local_models.replies import Statistics as Statistics
    from local_models.replies import TokenScore as TokenScore
    from local_models.replies import ToolCall as ToolCall
    from local_models.replies import Usage as Usage
    from local_models.stream import PieceStream as PieceStream
    from local_models.sync import SyncModel as SyncModel

_DEFINED_IN = {
    "BadGrammar": "local_models.errors",
    "BadModelFile": "local_models.errors",
    "BadOption": "local_models.errors",
    "BadTemplate": "local_models.errors",
    "DeadlineExceeded": "local_models.errors",
    "DownloadFailed": "local_models.errors",
    "EngineFailed": "local_models.errors",
    "EngineMissing": "local_models.errors",
    "Generate": "local_models.options",
    "GenerateChanges": "local_models.options",
    "Lease": "local_models.pool",
    "LoadOptions": "local_models.options",
    "LocalModel": "local_models.model",
    "LocalModelError": "local_models.errors",
    "Lora": "local_models.options",
    "ModelClosed": "local_models.errors",
    "ModelNotFound": "local_models.errors",
    "ModelPool": "local_models.pool",
    "OutOfMemory": "local_models.errors",
    "Overloaded": "local_models.errors",
    "Piece": "local_models.replies",
    "PieceStream": "local_models.stream",
    "PromptTooLong": "local_models.errors",
    "Reply": "local_models.replies",
    "Statistics": "local_models.replies",
    "SyncModel": "local_models.sync",
    "TokenScore": "local_models.replies",
    "ToolCall": "local_models.replies",
    "UnfitAnswer": "local_models.errors",
    "Usage": "local_models.replies",
    "WorkerDied": "local_models.errors",
}

__all__ = list(_DEFINED_IN)

__getattr__ = lazy_names(__name__, _DEFINED_IN)


def __dir__() -> list[str]:
    return sorted(__all__)
