"""What a model knows stays what llama.cpp makes of it, and nearly that with a smaller KV cache."""

from pathlib import Path

import msgspec
import pytest

from local_models import BadOption, LoadOptions, LocalModel, OutOfMemory
from local_models.gguf import check, summarize
from local_models.llama import Context, ContextShape, Weights
from local_models.llama.sizing import Machine, plan
from tests.support.local_models.models import TINY, user
from tests.support.local_models.perplexity import MOST, TEXT, files, of_engine, of_llama_cpp

ROOMY = Machine(cores=2, free_bytes=16 << 30)
OPTIONS = LoadOptions(threads=1, sequences=8, context=256)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
async def test_the_perplexity_of_a_text_is_that_of_llama_cpp(path: Path) -> None:
    async with await LocalModel.load(path, OPTIONS) as model:
        tokens = (await model.tokenize(TEXT))[:MOST]
        found = await of_engine(model, tokens)
    assert found == pytest.approx(of_llama_cpp(path, tokens), rel=0.01)


@pytest.mark.parametrize(("kv_type", "worse"), [("q8_0", 0.02), ("q4_0", 0.1)])
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
async def test_a_smaller_cache_is_nearly_as_good(path: Path, kv_type: str, worse: float) -> None:
    options = msgspec.structs.replace(OPTIONS, kv_type=kv_type)
    async with await LocalModel.load(path, options) as model:
        tokens = (await model.tokenize(TEXT))[:MOST]
        assert (await model.statistics()).kv_type == kv_type
        assert await of_engine(model, tokens) == pytest.approx(of_llama_cpp(path, tokens), rel=worse)
        assert (await model.chat(user("Repeat: abc"), max_tokens=8, temperature=0)).text


@pytest.mark.parametrize(("kv_type", "share"), [("f16", 64), ("q8_0", 34), ("q4_0", 18)])
def test_a_cache_takes_what_its_summary_says(kv_type: str, share: int) -> None:
    summary = summarize(check(str(TINY)))
    shape = ContextShape(sequences=1, tokens=2048, batch=64, threads=1, unified=False, kv_type=kv_type)
    weights = Weights(str(TINY), gpu_layers=0, mmap=True)
    context = Context(weights, shape)
    try:
        context.tokens[:64], context.positions[:64], context.sequence[:64] = 5, range(64), 0
        context.wanted[:64] = 0
        assert context.decode(64) == 0
        state = context.save(0)
    finally:
        context.close()
        weights.close()
    assert summary.kv_bytes(2048, kv_type) == 2048 * summary.kv_bytes_per_token * share // 64
    assert summary.kv_bytes(64, kv_type) <= len(state) < summary.kv_bytes(64, kv_type) + 4096


def test_a_model_whose_heads_do_not_fit_is_refused() -> None:
    summary = summarize(check(str(TINY)))
    assert summary.head_widths == (32, 32)
    for wrong, why in (
        (msgspec.structs.replace(summary, head_widths=(80, 80)), "keys of this model have 80"),
        (msgspec.structs.replace(summary, head_widths=(64, 40)), "values of this model have 40"),
        (msgspec.structs.replace(summary, architecture="grok"), "flash attention"),
    ):
        with pytest.raises(BadOption, match=why) as error:
            plan(wrong, LoadOptions(kv_type="q8_0"), ROOMY)
        assert error.value.field == "kv_type"
        plan(wrong, LoadOptions(), ROOMY)


def test_what_llama_cpp_refuses_is_told_by_its_reason() -> None:
    weights = Weights(str(TINY), gpu_layers=0, mmap=True)
    shape = ContextShape(sequences=1, tokens=256, batch=64, threads=1, unified=False)
    try:
        with pytest.raises(OutOfMemory, match="no KV cache"):
            Context(weights, msgspec.structs.replace(shape, sequences=257))
    finally:
        weights.close()
