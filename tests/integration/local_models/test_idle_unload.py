"""A model that nobody uses for a while is unloaded, and the next use loads it again, once for all."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from local_models import BadOption, LoadOptions, LocalModel, ModelPool
from tests.support.bus.members import eventually
from tests.support.local_models.models import TINY, user

SOON = 0.02
RESTING = LoadOptions(threads=1, sequences=4, context=256, idle_unload=SOON)
WAKES = 50


@pytest.fixture
async def pool() -> AsyncIterator[ModelPool]:
    async with ModelPool(64 << 20, RESTING) as made:
        yield made


async def says_abc(pool: ModelPool) -> None:
    async with pool.use("tiny") as model:
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"


async def rested(pool: ModelPool, times: int) -> None:
    await eventually(lambda: pool.rested == times and not pool.used_bytes)
    assert pool.loaded == ()


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_hundred_conversations_wake_a_model_once(isolated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = LocalModel.load.__func__  # type: ignore[attr-defined]

    async def counted(cls: type[LocalModel], model: str, *given: object, **named: object) -> LocalModel:
        loads.append(model)
        made: LocalModel = await load(cls, model, *given, **named)
        return made

    monkeypatch.setattr(LocalModel, "load", classmethod(counted))
    options = LoadOptions(threads=1, sequences=4, context=256, idle_unload=SOON, isolated=isolated)
    async with ModelPool(64 << 20, options) as pool:
        await says_abc(pool)
        await rested(pool, 1)
        wakers = [asyncio.ensure_future(says_abc(pool)) for _ in range(100)]
        await asyncio.sleep(0)
        gone = wakers[0], wakers[50]  # the first of them began to load
        for waker in gone:
            waker.cancel()
        ended = await asyncio.gather(*wakers, return_exceptions=True)
        assert [type(end).__name__ for end in ended if end is not None] == ["CancelledError"] * len(gone)
        assert len(loads) == 2
        await rested(pool, 2)


async def test_who_comes_while_a_model_is_unloaded_waits_for_its_memory(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget holds one of them."""
    closing, go_on, close = asyncio.Event(), asyncio.Event(), LocalModel.close

    async def slow(model: LocalModel) -> None:
        closing.set()
        await go_on.wait()
        await close(model)

    pool.memory_bytes = TINY.stat().st_size + 2 * (4 * 256 * 1024) - 1
    await says_abc(pool)
    monkeypatch.setattr(LocalModel, "close", slow)
    await closing.wait()
    waker = asyncio.ensure_future(says_abc(pool))
    await asyncio.sleep(0.01)
    assert pool.lease_at_once("tiny") is None
    assert not waker.done()
    go_on.set()
    await waker


async def test_a_model_in_use_is_not_unloaded(pool: ModelPool) -> None:
    async with pool.use("tiny") as model:
        await asyncio.sleep(5 * SOON)
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
    lease = pool.lease_at_once("tiny")
    assert lease is not None
    await asyncio.sleep(5 * SOON)
    assert (pool.rested, pool.loaded) == (0, ("tiny",))
    lease.release()
    await rested(pool, 1)


async def test_waking_leaves_nothing_behind(pool: ModelPool) -> None:
    process = psutil.Process()
    before = (0, 0, 0)
    for wake in range(1, WAKES + 1):
        await says_abc(pool)
        await rested(pool, wake)
        if wake == 10:
            before = _of(process)
    after = _of(process)
    assert after[1] <= before[1]
    assert after[2] <= before[2]
    assert after[0] - before[0] < 6 << 20  # a load of the small model takes 6 MiB


def _of(process: psutil.Process) -> tuple[int, int, int]:
    """Resident bytes, descriptors and threads."""
    return process.memory_info().rss, len(os.listdir("/proc/self/fd")), threading.active_count()


async def test_only_a_pool_can_wake_a_model(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="ModelPool") as error:
        await LocalModel.load(TINY, RESTING)
    assert error.value.field == "idle_unload"
