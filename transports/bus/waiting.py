"""Wait for a condition that raises no event, by looking again and again."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float, nap: float = 0.001) -> bool:
    """Test `condition` every `nap` seconds, for at most `within` seconds; return whether it came true."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(nap)
    return True
