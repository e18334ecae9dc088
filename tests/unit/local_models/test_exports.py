"""The public names of local_models, pinned; and what happens where the `local` extra is not installed."""

import subprocess
import sys

import local_models

PUBLIC = {
    "BadGrammar",
    "BadModelFile",
    "BadOption",
    "BadTemplate",
    "DeadlineExceeded",
    "DownloadFailed",
    "EngineFailed",
    "EngineMissing",
    "Generate",
    "Lease",
    "LoadOptions",
    "LocalModel",
    "LocalModelError",
    "Lora",
    "ModelClosed",
    "ModelNotFound",
    "ModelPool",
    "OutOfMemory",
    "Overloaded",
    "Piece",
    "PieceStream",
    "PromptTooLong",
    "Reply",
    "Statistics",
    "SyncModel",
    "TokenScore",
    "ToolCall",
    "Usage",
    "WorkerDied",
}

WITHOUT = """
import sys
for name in ("numpy", "jinja2", "llama_cpp"):
    sys.modules[name] = None
import asyncio, local_models
try:
    asyncio.run(local_models.LocalModel.load("tiny"))
except local_models.EngineMissing as error:
    print(error)
"""


def test_public_names_are_these_and_all_are_there() -> None:
    assert set(local_models.__all__) == PUBLIC
    assert all(getattr(local_models, name) is not None for name in PUBLIC)


def test_without_the_extra_the_error_says_which_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "three-mode[local]" in done.stdout
