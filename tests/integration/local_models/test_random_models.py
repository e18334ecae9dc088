"""Models of random weights with both kinds of tokenizers: they load, their text survives, and a long prompt stalls
nobody.
"""

import asyncio
from pathlib import Path

import pytest

from benchmarks.local_peers.random_models import SHAPES, model
from local_models.gguf import check, summarize
from local_models.llama import widths
from tests.support.local_models.models import TINY, opened, user


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@pytest.mark.parametrize(("name", "kind"), [("random-3m-spm", "llama"), ("random-3m-bpe", "gpt2")])
async def test_both_kinds_of_tokenizers_load_and_give_text_back(folder: Path, name: str, kind: str) -> None:
    path = model(name, folder)
    assert summarize(check(path)).tokenizer == kind
    async with opened(path, sequences=2, context=256) as engine:
        for text in ("Hello world", "é 日本 🙂", "a  b\n\tc"):
            assert await engine.detokenize(await engine.tokenize(text)) == text
        reply = await engine.chat(user("hi there"), max_tokens=9, temperature=0)
    assert (reply.finish, reply.usage.completion_tokens) == ("length", 9), "its answers are as long as asked"


def test_the_large_shapes_are_as_large_as_they_say() -> None:
    for shape in SHAPES.values():
        kv = shape.width // shape.heads * shape.kv_heads
        layer = 2 * shape.width * (shape.width + kv) + 3 * shape.width * shape.hidden
        millions = (shape.layers * layer + 2 * shape.vocabulary * shape.width) / 1e6
        stated = float(shape.name.split("-")[1].removesuffix("m"))
        assert 0.75 * stated < millions < 1.25 * stated, f"{shape.name} has {millions:.0f} million"


@pytest.mark.parametrize("layout", ["split", "unified"])
async def test_streams_go_on_while_a_long_prompt_is_read(folder: Path, layout: str) -> None:
    """Every stream gets many pieces between the prompt's arrival and its first token: the prompt is read in parts."""
    pool = 16_384 if layout == "unified" else 0
    path = model("random-3m-spm", folder)
    async with opened(path, sequences=5, context=4096, step_ms=1.0, layout=layout, pool=pool) as engine:
        pieces = [0] * 4

        async def follow(number: int) -> None:
            stream = engine.stream_complete(f"{number}", max_tokens=4000, temperature=0, agent=str(number))
            async with stream:
                async for _ in stream:
                    pieces[number] += 1

        streams = [asyncio.create_task(follow(number)) for number in range(4)]
        while min(pieces) < 8:
            await asyncio.wait(streams, timeout=0.01)
        before = list(pieces)
        prompt = " ".join(f"{number}" for number in range(400))
        assert 1200 < len(await engine.tokenize(prompt)) < 2500
        await engine.complete(prompt, max_tokens=1, temperature=0, agent="long")
        during = [now - then for now, then in zip(pieces, before, strict=True)]
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    assert min(during) >= 12, during


async def test_the_width_is_measured_when_calls_wait_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "PATIENCE", 30.0)  # other tests take the processor
    async with opened(TINY, sequences=0, context=256) as engine:
        few = await engine.statistics()
        assert (few.sequences, few.width_chosen) == (8, "not measured")
        calls = [engine.complete(f"{n}", max_tokens=8, temperature=0) for n in range(12)]
        await asyncio.gather(*calls)
        found = await engine.statistics()
    assert found.width_chosen.startswith("measured tokens/s by width: ")
    assert 1 <= found.width <= 256
    assert f"{found.width}: " in found.width_chosen
    assert found.layout in ("split", "unified")
    assert found.device
