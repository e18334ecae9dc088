"""A cache that grows while calls run: what they write does not change, and nothing stays behind."""

import asyncio
import threading

import msgspec
import pytest

from local_models import LocalModel, Lora
from local_models.engine import assembly
from local_models.engine import growth as growth_module
from local_models.engine.growth import Growth
from local_models.engine.inprocess import InProcessBackend
from local_models.errors import EngineFailed, ModelClosed, OutOfMemory
from local_models.files.catalogue import TINY
from local_models.llama import Context, ContextShape, Weights, sizing
from local_models.options import LoadOptions
from tests.support.local_models.models import AHOY

TEXTS = ("a " * 200, "b " * 200)
PROMPTS = [f"Count from {n}:" for n in range(6)]
ALONE = LoadOptions(sequences=1, context=512)
GROWING = LoadOptions(context=512)


@pytest.fixture(autouse=True)
def one_sequence_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model starts with one sequence, and has eight at most, whatever is measured here."""
    monkeypatch.setattr(sizing, "FIRST_SEQUENCES", 1)
    monkeypatch.setattr(assembly, "known_width", lambda *_: (8, "not measured here"))


async def _answers(model: LocalModel, prompts: list[str], tokens: int = 48) -> list[str]:
    calls = [model.complete(prompt, max_tokens=tokens, temperature=0) for prompt in prompts]
    return [answer.text for answer in await asyncio.gather(*calls)]


async def test_calls_write_the_same_while_the_cache_grows_under_them() -> None:
    async with await LocalModel.load(TINY, ALONE) as model:
        expected = [(await _answers(model, [prompt]))[0] for prompt in PROMPTS]
    async with await LocalModel.load(TINY, GROWING) as model:
        assert (await model.statistics()).sequences == 1
        first = asyncio.ensure_future(_answers(model, PROMPTS[:1], 300))
        assert await _answers(model, PROMPTS) == expected
        await first
        found = await model.statistics()
    assert found.sequences > 1
    assert found.pool == 512 * found.sequences
    assert not found.failed


async def test_a_stream_goes_on_in_the_wider_cache() -> None:
    async with await LocalModel.load(TINY, ALONE) as model:
        expected = (await model.complete("Once", max_tokens=400, temperature=0)).text
    async with await LocalModel.load(TINY, GROWING) as model:
        text, others = "", None
        async with model.stream_complete("Once", max_tokens=400, temperature=0) as stream:
            async for piece in stream:
                text += piece.text
                others = others or asyncio.ensure_future(_answers(model, PROMPTS))
        assert others is not None
        await others
        assert (await model.statistics()).sequences > 1
    assert text == expected


async def test_two_texts_in_turn_are_both_kept_in_the_end() -> None:
    """One caller with two conversations: the second takes the place of the first, until there is room for both."""
    async with await LocalModel.load(TINY, GROWING) as model:
        for _ in range(50):
            for prompt in TEXTS:
                await model.complete(prompt, max_tokens=1, temperature=0)
            if (await model.statistics()).sequences > 1:
                break
        for prompt in TEXTS:
            await model.complete(prompt, max_tokens=1, temperature=0)
        before = (await model.statistics()).reused_tokens
        for prompt in TEXTS:
            await model.complete(prompt, max_tokens=1, temperature=0)
        assert (await model.statistics()).reused_tokens - before > 300


async def test_without_memory_for_more_the_calls_wait_and_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_weights: Weights, shape: ContextShape) -> Context:
        raise OutOfMemory(f"no KV cache of {shape.tokens} tokens")

    async with await LocalModel.load(TINY, GROWING) as model:
        monkeypatch.setattr(growth_module, "Context", refuse)
        assert all(await _answers(model, PROMPTS))
        found = await model.statistics()
    assert (found.sequences, found.finished) == (1, len(PROMPTS))


async def test_a_model_that_is_closed_while_its_cache_grows_frees_both(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Context] = []
    entered, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def make(weights: Weights, shape: ContextShape) -> Context:
        loop.call_soon_threadsafe(entered.set)
        assert let_go.wait(20)
        made.append(Context(weights, shape))
        return made[0]

    model = await LocalModel.load(TINY, GROWING)
    monkeypatch.setattr(growth_module, "Context", make)
    calls = [asyncio.ensure_future(model.complete(prompt, max_tokens=400)) for prompt in PROMPTS]
    await entered.wait()
    closed = asyncio.ensure_future(model.close())
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(end, ModelClosed) for end in ended)
    assert not closed.done()  # the weights are in use
    let_go.set()
    await asyncio.wait_for(closed, 20)
    assert made[0]._ctx is None


async def test_configured_sequences_are_all_there_at_load() -> None:
    async with await LocalModel.load(TINY, LoadOptions(sequences=3, context=512)) as model:
        await _answers(model, PROMPTS)
        found = await model.statistics()
    assert (found.sequences, found.width, found.width_chosen) == (3, 3, "configured")


def test_growth_asks_for_no_more_than_calls_need() -> None:
    weights = Weights(str(TINY), gpu_layers=0, mmap=True)
    shape = ContextShape(sequences=64, tokens=64 * 256, batch=64, threads=1, unified=False)
    made: list[Context] = []
    try:
        growth = Growth(weights, growth_module.Room(shape, lambda: (20, "said")))
        growth.consider(1, 1, 0, made.append)
        assert not growth.words
        for slots, needed, displaced, expected in ((1, 3, 0, 4), (4, 4, 1, 8), (8, 9, 1, 16), (16, 60, 1, 20)):
            growth.consider(slots, needed, displaced, made.append)
            growth.join()
            assert made[-1].shape.sequences == expected
            assert made[-1].shape.tokens == 256 * expected
            growth.adopted()
        growth.consider(20, 60, 2, made.append)
        growth.join()
        assert len(made) == 4
    finally:
        for context in made:
            context.close()
        weights.close()


async def test_the_memory_of_a_model_with_one_caller_stays_small() -> None:
    async with await LocalModel.load(TINY, GROWING) as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        before = backend.memory_bytes
        for prompt in ["a", "a b", "a b c"]:
            await model.complete(prompt, max_tokens=4, temperature=0)
        assert backend.memory_bytes == before


async def test_texts_that_cannot_be_taken_over_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with sliding windows and recurrent layers."""
    monkeypatch.setattr(Context, "take_over", lambda *_: False)
    async with await LocalModel.load(TINY, ALONE) as model:
        expected = [(await _answers(model, [prompt]))[0] for prompt in PROMPTS]
    async with await LocalModel.load(TINY, GROWING) as model:
        assert await _answers(model, PROMPTS) == expected
        assert (await model.statistics()).sequences > 1


async def test_a_wider_cache_that_refuses_the_adapters_is_freed_and_the_calls_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = msgspec.structs.replace(GROWING, lora=(Lora(path=AHOY),))
    async with await LocalModel.load(TINY, msgspec.structs.replace(ALONE, lora=options.lora)) as model:
        expected = [(await _answers(model, [prompt]))[0] for prompt in PROMPTS]
    made: list[Context] = []
    put_on = Context.adapters

    def refuse_in_wider(context: Context, chosen: list[tuple[int, float]]) -> None:
        if context.shape.sequences > 1:
            made.append(context)
            raise EngineFailed("llama.cpp refused these LoRA adapters together")
        put_on(context, chosen)

    monkeypatch.setattr(Context, "adapters", refuse_in_wider)
    async with await LocalModel.load(TINY, options) as model:
        first = asyncio.ensure_future(_answers(model, PROMPTS[:1], 300))
        assert await _answers(model, PROMPTS) == expected
        await first
        assert (await model.statistics()).sequences == 1
        assert [context._ctx for context in made] == [None]
    assert "stays at 1 sequences" in caplog.text


async def test_a_wider_cache_is_freed_when_the_texts_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Context] = []

    def fail(wider: Context, *_: object) -> bool:
        made.append(wider)
        raise MemoryError

    monkeypatch.setattr(Context, "take_over", fail)
    async with await LocalModel.load(TINY, GROWING) as model:
        calls = [model.complete(prompt, max_tokens=48) for prompt in PROMPTS]
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(end, EngineFailed) for end in ended)
    assert [context._ctx for context in made] == [None]
