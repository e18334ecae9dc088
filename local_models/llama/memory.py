"""Memory that a closed model used goes back to the system.

glibc keeps what was freed in pools of its own, one for each thread that asked at the same time as another; it gives them
back only from their ends. A model is made on one thread and freed on the next one, so a process that loads and unloads
models would keep a few megabytes of each pool, and more of each size of model, for nobody.
"""

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    """glibc's own way; other C libraries have none, and keep less."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None


def release_free_memory() -> None:
    """Half a millisecond for a small process. Not on a loop's thread: a large heap takes longer."""
    trim = _trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))
