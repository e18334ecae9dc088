"""Steps that are not planned one by one, and texts carried to another sequence: nothing of what is said changes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.local_peers.random_models import model as random_model
from local_models import DeadlineExceeded, LocalModel
from local_models.engine.inprocess import InProcessBackend
from local_models.llama import Context, ContextShape, Weights
from local_models.replies import Reply
from local_models.scheduling.plan import StepPlan
from tests.support.local_models.models import TINY, opened, user

ENDLESS = 'root ::= "a"{900}'
KINDS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0, "logprobs": 2},
    {"temperature": 0, "stop": ("7",)},
    {"temperature": 0, "max_tokens": 5},
    {"temperature": 0.7, "seed": 3},
    {"temperature": 0, "repeat_penalty": 1.3},
    {"temperature": 0, "grammar": ENDLESS, "max_tokens": 40},
    {"temperature": 0, "grammar": 'root ::= [0-9 ]{12} "."'},
]


def said(reply: Reply) -> tuple[Any, ...]:
    return reply.text, reply.finish, reply.tokens, tuple(score.token for score in reply.scores)


async def streamed(model: LocalModel, question: str, **options: Any) -> tuple[str, tuple[int, ...]]:
    pieces = [piece async for piece in model.stream(user(question), **options)]
    return "".join(piece.text for piece in pieces), tuple(t for piece in pieces for t in piece.tokens)


async def test_calls_of_every_kind_say_beside_each_other_what_they_say_alone() -> None:
    question = "Count from 1 to 12."
    async with opened(sequences=1) as model:
        alone = [await model.chat(user(question), **options) for options in KINDS]
    async with opened(sequences=len(KINDS) * 2) as model:
        whole, pieces = await asyncio.gather(
            asyncio.gather(*(model.chat(user(question), **options) for options in KINDS)),
            asyncio.gather(*(streamed(model, question, **options) for options in KINDS)),
        )
        statistics = await model.statistics()
    assert [said(reply) for reply in whole] == [said(reply) for reply in alone]
    assert pieces == [(reply.text, reply.tokens) for reply in alone]
    assert {reply.finish for reply in alone} == {"stop", "length"}
    assert statistics.completion_tokens == 2 * sum(reply.usage.completion_tokens for reply in alone)
    assert statistics.running == statistics.waiting == 0


@pytest.mark.parametrize("layout", ["split", "unified"])
async def test_steps_that_are_alike_are_not_planned_one_by_one(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pool = random_model("random-3m-spm", tmp_path), 1024 if layout == "unified" else 0
    options: dict[str, Any] = {"context": 256, "layout": layout, "pool": pool, "speculate": "off"}
    async with opened(path, sequences=4, **options) as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        scheduler, plans = backend._engine.cache.scheduler, 0
        plan = scheduler.plan

        def counted(*arguments: Any) -> StepPlan:
            nonlocal plans
            plans += 1
            return plan(*arguments)

        monkeypatch.setattr(scheduler, "plan", counted)
        replies = await asyncio.gather(
            *(model.complete(f"{n}", max_tokens=100 + n, temperature=0, agent=f"{n}") for n in range(4))
        )
        assert [reply.usage.completion_tokens for reply in replies] == [100, 101, 102, 103]
        assert (await model.statistics()).steps >= 100
    assert plans < 30, "each end of a call, and each word from outside, takes a plan; the rest none"


async def test_what_comes_from_outside_ends_a_stretch_at_once() -> None:
    async with opened(sequences=4) as model:
        endless = model.stream_complete("x", max_tokens=450, grammar=ENDLESS)
        async with endless:
            await anext(endless)
            assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
            assert (await model.statistics()).running == 1, "450 tokens take longer than 4: it was let in between"
        assert (await model.statistics()).running == 0
        with pytest.raises(DeadlineExceeded) as caught:
            await model.complete("x", max_tokens=450, grammar=ENDLESS, within=0.02)
        assert caught.value.stage == "decode"


@pytest.fixture
def context() -> Iterator[Context]:
    weights = Weights(str(TINY), gpu_layers=0, mmap=True)
    context = Context(weights, ContextShape(sequences=4, tokens=4 * 256, batch=64, threads=1, unified=False))
    yield context
    context.close()
    weights.close()


def scores(context: Context, sequence: int, start: int, tokens: list[int]) -> Any:
    """Those of the last token, after computing these in that sequence."""
    count = len(tokens)
    context.tokens[:count] = tokens
    context.positions[:count] = range(start, start + count)
    context.sequence[:count] = sequence
    context.wanted[:count] = 0
    context.wanted[count - 1] = 1
    assert context.decode(count) == 0
    return context.logits(1)[0].copy()


def test_a_carried_text_is_the_text(context: Context) -> None:
    scores(context, 0, 0, [1, 40, 41, 42])
    for target in (1, 2, 3):
        context.copy(0, target)
    found = [scores(context, sequence, 4, [50]) for sequence in range(4)]
    assert [context.length(sequence) for sequence in range(4)] == [5] * 4
    assert all(np.allclose(found[0], other, atol=1e-4) for other in found[1:])


def test_what_is_carried_is_what_the_source_holds_now(context: Context) -> None:
    """Also when it was copied before and changed since, by computing, forgetting, copying or restoring."""
    scores(context, 0, 0, [1, 40, 41, 42])
    context.copy(0, 1)
    assert context.keep(0, 2)
    context.copy(0, 2)
    assert [context.length(sequence) for sequence in (1, 2)] == [4, 2]
    state = context.save(1)
    context.copy(1, 0)
    context.copy(0, 2)
    assert context.length(2) == 4
    scores(context, 0, 4, [43])
    context.copy(0, 3)
    assert context.length(3) == 5
    assert context.restore(0, state)
    context.copy(0, 3)
    assert context.length(3) == 4
    assert np.allclose(scores(context, 3, 4, [50]), scores(context, 2, 4, [50]), atol=1e-4)
