"""Waiting for an event in another process."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], within: float = 10.0) -> None:
    """Polls until the condition is true; fails when that takes too long."""
    ends = time.monotonic() + within
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.01)
