"""Public names of local_models and of its packages, pinned; and the error without the `local` extra."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import local_models

ROOT = Path(__file__).resolve().parents[3]

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
    "GenerateChanges",
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
    "UnfitAnswer",
    "Usage",
    "WorkerDied",
}

FRONTS = {  # packages of local_models that the rest of the repository may import, with their names
    "local_models.files": {
        "KNOWN",
        "TINY",
        "CatalogueEntry",
        "KnownModel",
        "ModelWheel",
        "add",
        "entries",
        "find",
        "folder",
        "inspect",
        "not_here",
        "paths",
        "pull",
        "remove",
        "valid_name",
    },
    "local_models.gguf": {"Header", "Summary", "Tensor", "check", "read", "summarize", "write"},
    "local_models.llama": {
        "Context",
        "ContextShape",
        "Device",
        "Floats",
        "Sampler",
        "Sampling",
        "Weights",
        "default_context",
        "devices",
        "library",
        "amx_is_sound",
        "system_info",
        "version",
    },
    "local_models.scheduling": {
        "Copy",
        "Keep",
        "QueueFull",
        "Row",
        "ScheduledCall",
        "Scheduler",
        "SchedulerLimits",
        "StepPlan",
    },
}
USERS = ("three_mode", "transports", "agents_demo", "benchmarks", "scripts")

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


@pytest.mark.parametrize("front", FRONTS)
def test_the_names_of_a_front_are_these_and_all_are_there(front: str) -> None:
    module = import_module(front)
    assert set(module.__all__) == FRONTS[front]
    assert all(getattr(module, name) is not None for name in FRONTS[front])
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


def test_others_import_the_fronts_and_nothing_behind_them() -> None:
    allowed = {"local_models", *FRONTS}
    behind = []
    for path in (path for top in USERS for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            else:
                continue
            behind += [
                f"{path.relative_to(ROOT)}: {module}"
                for module in modules
                if module.partition(".")[0] == "local_models" and module not in allowed
            ]
    assert not behind


def test_the_devices_can_be_listed_and_the_catalogue_read_without_numpy_and_httpx() -> None:
    code = (
        "import sys; from local_models import files, llama; files.entries(); llama.devices; "
        "print([name for name in ('numpy', 'httpx', 'llama_cpp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SLOW = ("numpy", "llama_cpp", "jinja2", "httpx", "psutil", "torch", "transformers", "pydantic", "regex")


def test_the_import_brings_nothing_but_names_and_the_names_nothing_slow() -> None:
    """`import local_models` is to take a few milliseconds, whatever the machine: what it imports is what counts."""
    code = (
        "import sys, local_models; print(sorted(n for n in sys.modules if n.startswith('local_models'))); "
        "found = [getattr(local_models, name) for name in local_models.__all__]; "
        f"print(len(found), [name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bare, names = done.stdout.splitlines()
    assert bare == "['local_models', 'local_models.lazy']"
    assert names == f"{len(PUBLIC)} []"
