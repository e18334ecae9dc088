"""An event loop in the same process stays responsive while the model is busy."""

import asyncio
import gc
import time
import weakref

from local_models import LoadOptions, LocalModel
from tests.support.local_models.models import TINY, opened, user


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


def test_loops_that_have_gone_are_not_kept() -> None:
    """A model that many short-lived loops use holds none of them, while it is still loaded."""
    model = asyncio.run(LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256)))
    gone: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def ask() -> None:
        gone.append(weakref.ref(asyncio.get_running_loop()))
        assert (await model.chat(user("Repeat: apple"), max_tokens=4, temperature=0)).text
        async with model.stream(user("Count from 1 to 50."), max_tokens=64) as stream:
            await anext(stream)  # and leaves

    try:
        for _ in range(3):
            asyncio.run(ask())
        until = time.monotonic() + 5
        while any(loop() is not None for loop in gone) and time.monotonic() < until:
            gc.collect()
            time.sleep(0.01)
        assert [loop() for loop in gone] == [None] * 3
    finally:
        asyncio.run(model.close())
