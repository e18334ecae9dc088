"""Sequences get longer once a call needs that: what it writes does not change, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local_models import DeadlineExceeded, LocalModel, ModelPool, OutOfMemory, PromptTooLong
from local_models.engine import assembly, long_calls
from local_models.engine import growth as growth_module
from local_models.files.catalogue import TINY
from local_models.llama import Context, ContextShape, Weights, sizing
from local_models.options import LoadOptions
from tests.support.local_models.models import begun

WHOLE = LoadOptions(sequences=1, context=2048)  # as many as the small model was trained for
LONG = "Hello! " + "a b c " * 180
SHORT = [f"Count from {n}:" for n in range(4)]


@pytest.fixture(autouse=True)
def short_sequences_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "FIRST_CONTEXT", 256)
    monkeypatch.setattr(sizing, "FIRST_SEQUENCES", 4)
    monkeypatch.setattr(long_calls, "EXPECTED", 16)
    monkeypatch.setattr(assembly, "known_width", lambda *_: (8, "not measured here"))


async def said(model: LocalModel, prompt: str, tokens: int = 40) -> str:
    return (await model.complete(prompt, max_tokens=tokens, temperature=0, ignore_eos=True)).text


@asynccontextmanager
async def held_growth(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """No longer sequences are made before the end."""
    let_go = threading.Event()

    def make(weights: Weights, shape: ContextShape) -> Context:
        assert let_go.wait(20)
        return Context(weights, shape)

    monkeypatch.setattr(growth_module, "Context", make)
    try:
        yield
    finally:
        let_go.set()


async def expected(prompts: list[str], tokens: int = 40) -> list[str]:
    async with await LocalModel.load(TINY, WHOLE) as model:
        return [await said(model, prompt, tokens) for prompt in prompts]


@pytest.mark.parametrize("sequences", [0, 2])
async def test_a_long_prompt_among_short_ones_gets_a_long_sequence(sequences: int) -> None:
    prompts = [*SHORT, LONG]
    wanted = await expected(prompts)
    async with await LocalModel.load(TINY, LoadOptions(sequences=sequences)) as model:
        before = await model.statistics()
        assert (before.context, before.sequence_tokens) == (2048, 256)
        assert before.context_chosen == "what the model was trained for"
        assert await asyncio.gather(*(said(model, prompt) for prompt in prompts)) == wanted
        after = await model.statistics()
        assert await model.count(LONG) < after.sequence_tokens <= 2048
        assert after.pool == after.sequences * after.sequence_tokens
        assert (after.sequences == sequences) or not sequences
        assert (after.finished, after.failed, after.waiting) == (5, 0, 0)


async def test_an_answer_goes_on_when_its_sequence_is_full() -> None:
    """Streamed and whole, the same text as in a sequence that was long from the start; each token comes once."""
    (wanted,) = await expected(["Once"], 600)
    async with await LocalModel.load(TINY, LoadOptions()) as model:
        whole = asyncio.ensure_future(model.complete("Once", max_tokens=600, temperature=0, ignore_eos=True))
        tokens, text = 0, ""
        async with model.stream_complete("Once", max_tokens=600, temperature=0, ignore_eos=True) as stream:
            async for piece in stream:
                text += piece.text
                tokens += len(piece.tokens)
        reply = await whole
        found = await model.statistics()
    assert (text, tokens) == (wanted, 600)
    assert (reply.text, reply.finish, reply.usage.completion_tokens) == (wanted, "length", 600)
    assert reply.usage.prompt_tokens < 10
    assert found.sequence_tokens == 1024


async def test_sequences_are_fewer_where_long_ones_would_take_too_much_memory() -> None:
    """Those who run in a place that goes are computed again in another."""
    wanted = await expected([*SHORT, LONG], 120)
    per_token = 1024
    options = LoadOptions(memory_bytes=TINY.stat().st_size + 2100 * per_token)
    async with await LocalModel.load(TINY, options) as model:
        shorts = [asyncio.ensure_future(said(model, prompt, 120)) for prompt in SHORT]
        await begun()
        long = await said(model, LONG, 120)
        assert [*await asyncio.gather(*shorts), long] == wanted
        found = await model.statistics()
    assert (found.sequences, found.sequence_tokens) == (1, 2048)


async def test_sequences_get_shorter_and_more_again_where_calls_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_module, "SHORTEN_AGAIN", 0.0)
    wanted = await expected(SHORT, 300)
    options = LoadOptions(memory_bytes=TINY.stat().st_size + 2100 * 1024)
    async with await LocalModel.load(TINY, options) as model:
        await said(model, LONG)
        assert (await model.statistics()).sequences == 1
        assert await asyncio.gather(*(said(model, prompt, 300) for prompt in SHORT)) == wanted
        found = await model.statistics()
    assert found.sequences == 4
    assert found.sequence_tokens == 512  # shorter, and longer again as the answers went on


async def test_a_call_that_came_while_shorter_sequences_were_made_keeps_its_long_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growth_module, "SHORTEN_AGAIN", 0.0)
    entered, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def make(weights: Weights, shape: ContextShape) -> Context:
        if shape.tokens // shape.sequences == 256:
            loop.call_soon_threadsafe(entered.set)
            assert let_go.wait(20)
        return Context(weights, shape)

    put_off, times = growth_module.Growth.put_off, []
    monkeypatch.setattr(growth_module.Growth, "put_off", lambda growth: (times.append(1), put_off(growth)))
    wanted = await expected([*SHORT, LONG])
    options = LoadOptions(memory_bytes=TINY.stat().st_size + 2100 * 1024)
    async with await LocalModel.load(TINY, options) as model:
        await said(model, LONG)
        monkeypatch.setattr(growth_module, "Context", make)
        shorts = [asyncio.ensure_future(said(model, prompt)) for prompt in SHORT]
        await entered.wait()
        long = asyncio.ensure_future(said(model, LONG))
        await begun()
        let_go.set()
        assert [*await asyncio.gather(*shorts), await long] == wanted
        assert not (await model.statistics()).failed
    assert times


async def test_without_memory_a_prompt_is_refused_and_an_answer_ends_with_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_weights: Weights, shape: ContextShape) -> Context:
        raise OutOfMemory(f"no KV cache of {shape.tokens} tokens")

    async with await LocalModel.load(TINY, LoadOptions()) as model:
        monkeypatch.setattr(growth_module, "Context", refuse)
        with pytest.raises(OutOfMemory, match="room for sequences of 256 now"):
            await said(model, LONG)
        reply = await model.complete("Once", max_tokens=400, temperature=0, ignore_eos=True)
        assert (reply.finish, reply.usage.total_tokens) == ("length", 256)
        assert all(await asyncio.gather(*(said(model, prompt) for prompt in SHORT)))


async def test_a_budget_that_has_no_room_now_has_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_module, "CLAIM_AGAIN", 0.0)
    granted: list[int] = []
    take, full = ModelPool._take, True

    def bounded(pool: ModelPool, entry: object, cache_bytes: int) -> bool:
        granted.append(cache_bytes)
        return not (full and cache_bytes > 4 * 256 * 1024) and take(pool, entry, cache_bytes)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelPool, "_take", bounded)
    async with ModelPool(64 << 20) as pool, pool.use("tiny") as model:
        with pytest.raises(OutOfMemory, match="try again once"):
            await said(model, LONG)
        full = False
        assert await said(model, LONG)
        assert pool.used_bytes == TINY.stat().st_size + granted[-1]


async def test_a_call_that_waits_for_a_longer_sequence_can_be_cancelled_and_closed_under() -> None:
    async with await LocalModel.load(TINY, LoadOptions()) as model:
        calls = [asyncio.ensure_future(said(model, LONG, 200)) for _ in range(3)]
        await begun()
        calls[0].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)
        assert ended[1] == ended[2]
        await asyncio.gather(asyncio.ensure_future(said(model, LONG)), model.close(), return_exceptions=True)


@pytest.mark.parametrize(("prompt", "stage"), [(LONG, "queue"), ("Once", "decode")])
async def test_a_call_ends_at_its_deadline_while_it_waits_for_a_longer_sequence(
    prompt: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it begins and in the middle of its answer, with nobody else in the engine."""
    async with await LocalModel.load(TINY, LoadOptions()) as model:
        async with held_growth(monkeypatch):
            with pytest.raises(DeadlineExceeded) as error:
                await model.complete(prompt, max_tokens=400, temperature=0, ignore_eos=True, within=0.4)
            assert error.value.stage == stage
            found = await model.statistics()
            assert (found.running, found.waiting, found.expired, found.failed) == (0, 0, 1, 0)
        assert await said(model, LONG) == (await expected([LONG]))[0]


async def test_a_call_that_is_cancelled_while_it_waits_for_a_longer_sequence_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with await LocalModel.load(TINY, LoadOptions(queue=1)) as model:
        async with held_growth(monkeypatch):
            for _ in range(3):  # each has the one place of the queue
                call = asyncio.ensure_future(said(model, LONG))
                await begun()
                assert (await model.statistics()).waiting == 1
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                assert (await model.statistics()).waiting == 0
        assert await said(model, LONG) == (await expected([LONG]))[0]
        found = await model.statistics()
        assert (found.cancelled, found.finished, found.failed) == (3, 1, 0)
        assert found.used_tokens == found.resident_prefix_tokens


async def test_what_no_sequence_can_hold_is_refused_with_what_can_be_done() -> None:
    too_long = "a " * 3000
    async with await LocalModel.load(TINY, LoadOptions()) as model:
        with pytest.raises(PromptTooLong) as error:
            await said(model, too_long)
        assert error.value.hint == "shorten it: this model takes no more"
    async with await LocalModel.load(TINY, LoadOptions(context=512)) as model:
        with pytest.raises(PromptTooLong, match="a larger `context`: it was trained for 2048"):
            await said(model, too_long)
