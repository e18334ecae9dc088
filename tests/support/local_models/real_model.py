"""A real model for tests, brought by the command that users have. It stays in the user's cache from run to run."""

import fcntl
import os
import subprocess
import sys
from functools import cache
from pathlib import Path


@cache
def real_model() -> Path:
    """The file of SmolLM2 135M Instruct, Q4_1 (98 MB). The first test that asks pulls it, in a few seconds."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "three-mode" / "models-of-tests"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:  # other runs of tests on this machine wait for the one that pulls
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "three_mode.cli", "models", "pull", "smollm2"]
        environment = os.environ | {"THREE_MODE_MODELS": str(kept)}
        pulled = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert pulled.returncode == 0, pulled.stderr
    return kept / "smollm2.gguf"
