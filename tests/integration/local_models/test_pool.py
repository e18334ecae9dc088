"""Several models under one memory budget."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from local_models import (
    BadModelFile,
    DeadlineExceeded,
    LoadOptions,
    LocalModel,
    Lora,
    ModelClosed,
    ModelPool,
    OutOfMemory,
)
from local_models.engine import growth
from local_models.gguf import check, summarize
from local_models.llama import widths
from local_models.llama.sizing import machine, plan
from tests.support.bus.members import eventually
from tests.support.local_models.models import TINY, user

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


async def test_a_model_has_options_of_its_own_and_a_file_has_a_name(three: list[str]) -> None:
    larger = LoadOptions(threads=1, sequences=2, context=512)
    models = {"brain": larger, f"gguf:{three[1]}": larger}
    async with ModelPool(64 << 20, OPTIONS, models=models, files={"brain": three[0]}) as pool:
        contexts = []
        for name in ("brain", three[0], three[1], "tiny"):
            async with pool.use(name) as model:
                contexts.append((await model.statistics()).context)
        assert contexts == [512, 256, 512, 256]
        assert pool.loaded == ("brain", three[0], three[1], "tiny")


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


async def loading(pool: ModelPool, name: str) -> "asyncio.Task[object]":
    """One who waits for a model that is being loaded."""
    waits: asyncio.Task[object] = asyncio.create_task(pool.lease(name))
    await eventually(lambda: name in pool._places and pool._places[name].loading is not None)
    return waits


async def test_who_waits_no_longer_for_a_model_stops_no_loading(three: list[str]) -> None:
    a, b, c = three
    async with ModelPool(6 << 20, OPTIONS) as pool:
        first = await loading(pool, a)
        with pytest.raises(DeadlineExceeded) as error:
            await pool.lease(a, within=1e-6)
        assert error.value.stage == "load"
        begun = pool._places[a].loading
        first.cancel()
        await eventually(lambda: pool.loaded == (a,))
        assert begun is not None
        async with pool.use(a) as model:
            assert model is begun.result()
        async with pool.use(b), pool.use(c):  # nobody uses the first one: it makes room
            assert pool.loaded == (b, c)


async def test_closing_a_pool_ends_who_waits_for_a_model(three: list[str]) -> None:
    pool = ModelPool(64 << 20, OPTIONS)
    first = await loading(pool, three[0])
    await pool.close()
    with pytest.raises(ModelClosed):
        await first
    assert pool.loaded == ()


def put(path: str, parts: int) -> None:
    """The model there, or so many eighths of it."""
    whole = TINY.read_bytes()
    Path(path).write_bytes(whole[: len(whole) * parts // 8])


async def test_a_model_that_does_not_load_is_told_to_all_and_tried_again(three: list[str]) -> None:
    broken = three[0]
    put(broken, 4)
    async with ModelPool(64 << 20, OPTIONS) as pool:
        told = await asyncio.gather(*(pool.lease(broken) for _ in range(4)), return_exceptions=True)
        assert [type(error).__name__ for error in told] == ["BadModelFile"] * 4
        put(broken, 8)
        async with pool.use(broken) as model:
            assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"


# --- caches that grow ---

GROWING = LoadOptions(threads=1, context=512)
WIDTH = 32
ENDLESS = 'root ::= "a"{200}'
PROMPTS = [f"Count from {n}:" for n in range(20)]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine remembers of the small model, in this process and in a worker, that 32 sequences are its best."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    summary = summarize(check(str(TINY)))
    results = {}
    for own_process in (False, True):
        load_plan = plan(summary, GROWING, machine(), own_process=own_process)
        shape = msgspec.structs.replace(load_plan.shape, threads=load_plan.most_threads)
        results[widths._key(str(TINY), shape, 0)] = widths._Remembered(WIDTH, "remembered", 1.0)
    widths._write(results)


def bytes_of(sequences: int) -> int:
    """Bytes of the small model with a cache of so many sequences."""
    summary = summarize(check(str(TINY)))
    return summary.file_bytes + summary.kv_bytes(512 * sequences)


async def answers(model: LocalModel, count: int = len(PROMPTS)) -> None:
    """Calls that are all there for a while: none may end before it has written 64 tokens."""
    await asyncio.gather(*(model.complete(prompt, max_tokens=64, grammar=ENDLESS) for prompt in PROMPTS[:count]))


async def test_models_with_caches_that_may_grow_share_a_budget(three: list[str]) -> None:
    """The pool counted caches at their widest: two models that fit beside each other unloaded one another."""
    budget = 2 * bytes_of(8) + 1000
    assert budget < bytes_of(64)
    async with ModelPool(budget, GROWING) as pool, pool.use(three[0]), pool.use(three[1]):
        assert pool.loaded == tuple(three[:2])
        assert pool.used_bytes == 2 * bytes_of(8)
    assert pool.used_bytes == 0


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.usefixtures("wide")
async def test_a_cache_grows_within_the_budget(isolated: bool) -> None:
    options = msgspec.structs.replace(GROWING, isolated=isolated)
    async with ModelPool(bytes_of(8 + WIDTH), options) as pool:
        async with pool.use("tiny") as model:
            for _ in range(20):  # calls may end before the last of them has come to a worker
                await answers(model)
                if (found := await model.statistics()).sequences == WIDTH:
                    break
            assert found.sequences == WIDTH
            await eventually(lambda: pool.used_bytes == bytes_of(WIDTH))  # of a worker it is told later
    assert pool.used_bytes == 0


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.usefixtures("wide")
async def test_a_cache_that_the_budget_has_no_room_for_stays_as_it_is(
    isolated: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(growth, "CLAIM_AGAIN", 0.0)
    claims: list[int] = []
    take = ModelPool._take

    def counted(pool: ModelPool, entry: object, cache_bytes: int) -> bool:
        claims.append(cache_bytes)
        return take(pool, entry, cache_bytes)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelPool, "_take", counted)
    options = msgspec.structs.replace(GROWING, isolated=isolated)
    async with ModelPool(bytes_of(8 + 16) - 1, options) as pool, pool.use("tiny") as model:  # 8 and, beside them, 16
        await answers(model)
        found = await model.statistics()
        assert (found.sequences, found.finished) == (8, len(PROMPTS))
        assert pool.used_bytes == bytes_of(8)
    assert len(claims) > 1  # the model asked
    said = [record.message for record in caplog.records if "stays at 8 sequences" in record.message]
    assert len(said) == (0 if isolated else 1)  # a worker says it in its own log


@pytest.mark.usefixtures("wide")
async def test_a_cache_grows_once_another_model_has_made_room(
    three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "CLAIM_AGAIN", 0.0)
    broken = {three[1]: msgspec.structs.replace(GROWING, lora=(Lora(path=str(TINY)),))}
    async with ModelPool(bytes_of(8 + 16), GROWING, models=broken) as pool, pool.use("tiny") as model:
        async with pool.use(three[0]):
            await answers(model, 12)
            assert (await model.statistics()).sequences == 8
        with pytest.raises(BadModelFile, match="LoRA"):
            await pool.lease(three[1])
        assert pool.loaded == ("tiny",)  # the other one was unloaded for one that could not be loaded
        await answers(model, 12)
        assert (await model.statistics()).sequences == 16
