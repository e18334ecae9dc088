"""Several models under one memory budget."""

import asyncio
import shutil
from pathlib import Path

import pytest

from local_models import LoadOptions, ModelClosed, ModelPool, OutOfMemory
from tests.support.models import TINY, user

OPTIONS = LoadOptions(threads=1, sequences=2, context=256)


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    return [str(shutil.copy(TINY, tmp_path / f"{name}.gguf")) for name in "abc"]


async def test_the_least_recently_used_makes_room(three: list[str]) -> None:
    a, b, c = three
    async with ModelPool(6 << 20, OPTIONS) as pool:
        for name in (a, b, a):
            async with pool.use(name) as model:
                assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
        assert pool.loaded == (b, a)
        async with pool.use(c):
            assert pool.loaded == (a, c)
        assert pool.unloaded == 1
        assert pool.used_bytes <= pool.memory_bytes


async def test_a_model_in_use_is_never_unloaded(three: list[str]) -> None:
    a, b, c = three
    async with ModelPool(6 << 20, OPTIONS) as pool, pool.use(a) as model, pool.use(b):
        with pytest.raises(OutOfMemory, match="in use"):
            async with pool.use(c):
                raise AssertionError("there was no room")
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"


async def test_a_model_wanted_by_many_at_once_is_loaded_once(three: list[str]) -> None:
    async with ModelPool(64 << 20, OPTIONS) as pool:

        async def one() -> int:
            async with pool.use(three[0]) as model:
                await asyncio.sleep(0)
                return id(model)

        assert len(set(await asyncio.gather(*(one() for _ in range(8))))) == 1


async def test_what_can_never_fit_and_a_closed_pool(three: list[str]) -> None:
    pool = ModelPool(1 << 20, OPTIONS)
    with pytest.raises(OutOfMemory, match="budget"):
        async with pool.use(three[0]):
            pass
    await pool.close()
    with pytest.raises(ModelClosed):
        async with pool.use(three[0]):
            pass
