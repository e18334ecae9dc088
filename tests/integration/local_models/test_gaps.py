"""Sequences between others are computed along, so that a step is one pass: nobody's text changes, and nothing stays."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from local_models import LocalModel
from local_models.engine import batching
from local_models.engine.batching import drop_fillers, fillers, place_fillers
from local_models.engine.inprocess import InProcessBackend
from local_models.files.catalogue import TINY
from local_models.llama import Context, ContextShape, Weights
from tests.support.local_models.models import opened

ENDLESS = 'root ::= "a"{900}'


@pytest.fixture
def context() -> Iterator[Context]:
    weights = Weights(str(TINY), gpu_layers=0, mmap=True)
    made = Context(weights, ContextShape(sequences=8, tokens=8 * 256, batch=64, threads=1, unified=False))
    assert not made.most_fillers, "a pass over such small weights costs less"
    made.most_fillers = 3
    yield made
    made.close()
    weights.close()


def read(context: Context, slot: int, tokens: list[int]) -> None:
    count = len(tokens)
    context.tokens[:count], context.positions[:count] = tokens, range(count)
    context.sequence[:count], context.wanted[:count] = slot, 0
    assert context.decode(count) == 0


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        ([0, 1, 2], []),
        ([0, 2], [1]),
        ([0, 4], [1, 2, 3]),
        ([0, 5], []),  # so many tokens cost more than a pass
        ([1, 3, 4, 6], [2, 5]),
        ([7], []),
    ],
)
def test_only_small_gaps_are_filled(context: Context, slots: list[int], found: list[int]) -> None:
    assert [slot for slot, _ in fillers(context, slots)] == found


def test_a_full_sequence_fills_no_gap(context: Context) -> None:
    for start in range(0, 256, 64):
        context.tokens[:64], context.positions[:64] = 7, range(start, start + 64)
        context.sequence[:64], context.wanted[:64] = 1, 0
        assert context.decode(64) == 0
    assert context.length(1) == 256
    assert fillers(context, [0, 2]) == []
    assert fillers(context, [0, 3]) == []  # the other one of the gap would not close it


def test_scores_are_the_same_and_what_the_sequence_holds_too(context: Context) -> None:
    for slot, tokens in enumerate(([5, 6, 7], [8, 9, 10, 11], [12])):
        read(context, slot, tokens)
    held = context.save(1)

    def step(found: list[tuple[int, int]]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        places = place_fillers(context, [0, 2], found)
        context.tokens[places], context.positions[places], context.wanted[places] = [20, 21], [3, 1], 1
        assert context.decode(2 + len(found)) == 0
        drop_fillers(context, found)
        return context.logits(2).copy()

    plain = step([])
    for slot, length in ((0, 3), (2, 1)):
        context.keep(slot, length)
    found = fillers(context, [0, 2])
    assert found == [(1, 4)]
    filled = step(found)
    assert context.length(1) == 4
    assert context.save(1) == held
    np.testing.assert_allclose(filled, plain, rtol=1e-2, atol=5e-3)  # passes of other widths round in other ways
    for slot, length in ((0, 3), (2, 1)):
        context.keep(slot, length)
    context.sequence[:3] = [0, 1, 2]  # a token that the sequence between them really goes on with
    context.tokens[:3], context.positions[:3], context.wanted[:3] = [20, 13, 21], [3, 4, 1], [1, 0, 1]
    assert context.decode(3) == 0
    np.testing.assert_allclose(filled, context.logits(2), rtol=1e-4, atol=1e-4)


async def _texts(model: LocalModel, longest: int) -> list[str]:
    """Answers of six callers of which the third and the fourth end early, in the middle of the others."""
    rooms = [longest, longest, 3, 5, longest, longest]
    prompts = [f"Repeat: {word}" for word in ("abc", "fed", "xyz", "kpt", "ghi", "mno")]
    calls = [
        model.complete(prompt, max_tokens=room, temperature=0, grammar=ENDLESS if n % 2 else "")
        for n, (prompt, room) in enumerate(zip(prompts, rooms, strict=True))
    ]
    return [reply.text for reply in await asyncio.gather(*calls)]


async def test_answers_do_not_change_when_calls_between_them_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filled: list[int] = []
    dropped = batching.drop_fillers

    def counted(context: Context, found: list[tuple[int, int]]) -> None:
        filled.append(len(found))
        dropped(context, found)

    monkeypatch.setattr("local_models.engine.engine.drop_fillers", counted)
    texts = []
    for most in (0, 3):
        async with opened(sequences=6) as model:
            backend = model._backend
            assert isinstance(backend, InProcessBackend)
            backend._engine.context.most_fillers = most
            filled.clear()
            texts.append(await _texts(model, 60))
            assert bool(sum(filled)) == bool(most)
            again = await _texts(model, 60)  # the texts that stood in the gap are there, and used again
            assert again == texts[-1]
            assert (await model.statistics()).reused_tokens > 0
    assert texts[0] == texts[1]
