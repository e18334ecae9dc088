"""llama.cpp in the environment of this checkout, which may still be compiling it."""

import asyncio
import sys
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
IN_ITS_VENV = Path(sys.prefix).resolve() == ROOT / ".venv"


async def ready(console: Console) -> None:
    """Wait until llama.cpp is installed, with its progress, if `make demo` has left it compiling."""
    if find_spec("llama_cpp") is not None or not IN_ITS_VENV:
        return
    console.print("   llama.cpp is still being compiled; this goes on when it is there")
    process = await asyncio.create_subprocess_exec(sys.executable, str(ROOT / "scripts" / "venv.py"), "demo")
    if await process.wait():
        raise SystemExit(process.returncode)
    invalidate_caches()
