"""All cores compute by default, except one while an event loop of the program is busy."""

import asyncio
import os
import time

import pytest

from local_models import LoadOptions, LocalModel
from local_models.engine import compute_threads
from local_models.files.catalogue import TINY

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
ENDLESS = 'root ::= "a"{900}'
pytestmark = pytest.mark.skipif(CORES < 2, reason="one core")


async def threads_of(model: LocalModel, wanted: int, *, busy: bool) -> int:
    """Returns the threads of running calls: `wanted` as soon as that is the number, else that after many looks."""
    calls = [asyncio.create_task(model.complete("x", max_tokens=900, grammar=ENDLESS)) for _ in range(2)]
    found = 0
    try:
        for _ in range(200):
            if busy:
                started = time.thread_time()
                while time.thread_time() < started + 0.02:
                    pass
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(0.03)
            if all(call.done() for call in calls):
                calls = [asyncio.create_task(model.complete("x", max_tokens=900, grammar=ENDLESS)) for _ in range(2)]
            found = (await model.statistics()).threads
            if found == wanted:
                break
    finally:
        for call in calls:
            call.cancel()
    return found


async def test_a_busy_loop_gets_a_core_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_threads, "seconds_of_other_programs", lambda: 0.0)  # the tests share the machine
    async with await LocalModel.load(TINY, LoadOptions(sequences=2, context=1024)) as model:
        assert await threads_of(model, CORES, busy=False) == CORES
        assert await threads_of(model, CORES - 1, busy=True) == CORES - 1
        assert await threads_of(model, CORES, busy=False) == CORES


async def test_a_worker_uses_all_cores() -> None:
    async with await LocalModel.load(TINY, LoadOptions(sequences=2, context=256, isolated=True)) as model:
        assert (await model.statistics()).threads == CORES
