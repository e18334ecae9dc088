"""Threads of OpenMP: only the engine's thread keeps a team, or the threads sleep at every barrier."""

import sys
import threading
from pathlib import Path

import pytest

from local_models import LoadOptions, LocalModel
from tests.support.local_models.models import TINY


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
async def test_the_thread_that_loaded_a_model_is_gone_with_its_team() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    async with await LocalModel.load(TINY, LoadOptions(threads=2, sequences=2, context=256)) as first:
        await first.complete("hello", max_tokens=2)
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("local-model-load")]
        before = threads()
        for _ in range(3):
            async with await LocalModel.load(TINY, LoadOptions(threads=2, sequences=2, context=256)) as model:
                await model.complete("hello", max_tokens=2)
        assert threads() <= before + 2
