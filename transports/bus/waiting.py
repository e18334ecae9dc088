"""Waiting for something that nobody announces."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float, nap: float = 0.001) -> bool:
    """Look every `nap` seconds; whether `condition()` came true in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(nap)
    return True
