"""Returns the memory of closed models to the system.

glibc keeps freed memory in pools, one for each thread that allocates beside others, and shrinks a pool only from its
end. A model is allocated on one thread and freed on another. A process that loads and unloads models would therefore
keep a few megabytes in each pool, and more for each size of model, without use.
"""

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    """Returns glibc's `malloc_trim`; other C libraries have none, and keep less."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None


def release_free_memory() -> None:
    """Trims the pools: half a millisecond for a small process, more for a large heap, so not for an event loop."""
    trim = _trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))
