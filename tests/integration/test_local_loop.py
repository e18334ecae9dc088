"""An event loop in the same process stays responsive while the model is busy."""

import asyncio
import time

from tests.support.models import opened, user


async def test_the_loop_runs_while_many_agents_are_answered() -> None:
    async with opened(sequences=16) as model:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        heart = asyncio.create_task(beat())
        started = time.monotonic()
        await asyncio.gather(
            *(model.chat(user(f"Count from {n} to {n + 9}."), temperature=0, agent=str(n)) for n in range(64))
        )
        seconds = time.monotonic() - started
        heart.cancel()
    assert beats > 20 * seconds, "the loop hardly ran beside the engine"
