"""Speculation on real models: what a call writes is what it writes without, whatever is proposed for it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_peers.random_models import Shape, make
from benchmarks.local_peers.random_models import model as random_model
from local_models import BadOption, LoadOptions, LocalModel, ModelPool
from local_models.engine.inprocess import InProcessBackend
from local_models.replies import Reply
from local_models.scheduling.plan import StepPlan
from local_models.speculation import draft as draft_module
from local_models.speculation.speculation import Speculation
from tests.support.local_models.models import TINY, begun, held, opened, user

MODELS = [TINY, *map(Path, filter(None, os.environ.get("THREE_MODE_REAL_MODELS", "").split(os.pathsep)))]
"""The small model, and the real ones that the environment names."""
PROMPTS = [
    "Count from 1 to 12.",
    "Repeat: kq7f kq7f kq7f",
    "What is 21 + 34?",
    "Reverse: stressed",
    'Change red to blue: {"colour": "red", "size": 4, "colour2": "red"}',
    "one two three four five six seven eight one two three four",
]
LOOPING = 'root ::= ("abcab " | "abcac ") root'
KINDS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0, "logprobs": 2},
    {"temperature": 0, "stop": ("9", "ab")},
    {"temperature": 0, "max_tokens": 5},
    {"temperature": 0, "min_tokens": 30, "max_tokens": 40},
    {"temperature": 0, "ignore_eos": True, "max_tokens": 60},
    {"temperature": 0.9, "seed": 3},
    {"temperature": 0.9, "seed": 4, "top_k": 0, "top_p": 1.0, "min_p": 0.1},
    {"temperature": 0, "repeat_penalty": 1.3, "frequency_penalty": 0.2, "max_tokens": 60},
    {"temperature": 0, "logit_bias": {"50": 4.0}, "max_tokens": 40},
    {"temperature": 0, "grammar": LOOPING, "max_tokens": 48},
    {"temperature": 1.0, "seed": 5, "grammar": LOOPING, "max_tokens": 48},
    {"temperature": 0, "grammar": 'root ::= [0-9 ]{12} "."'},
    {"temperature": 0, "schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x"]}}}},
]


def said(reply: Reply) -> tuple[Any, ...]:
    scores = tuple((score.token, score.text) for score in reply.scores)
    return reply.text, reply.finish, reply.tokens, scores, reply.usage.completion_tokens


async def answers(model: LocalModel, kinds: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    calls = [model.chat(user(PROMPTS[n % len(PROMPTS)]), **{"max_tokens": 80, **kind}) for n, kind in enumerate(kinds)]
    return [said(reply) for reply in await asyncio.gather(*calls)]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
async def test_greedy_is_the_same_prompt_by_prompt(path: Path) -> None:
    greedy = [{"temperature": 0}] * len(PROMPTS)
    async with opened(path, speculate="off") as model:
        plain = [(await answers(model, [*greedy])), (await model.statistics()).proposed_tokens]
    async with opened(path, speculate=6) as model:
        alone = [said(await model.chat(user(prompt), temperature=0, max_tokens=80)) for prompt in PROMPTS]
        together, counts = await answers(model, [*greedy]), await model.statistics()
    assert plain == [alone, 0]
    assert together == alone
    assert counts.proposed_tokens >= counts.accepted_tokens > 0
    assert counts.steps < counts.completion_tokens
    assert counts.used_tokens == counts.resident_prefix_tokens


@pytest.mark.parametrize("layout", ["split", "unified"])
async def test_calls_of_every_kind_say_what_they_say_without(layout: str) -> None:
    pool = 2048 if layout == "unified" else 0
    async with opened(sequences=1, speculate="off") as model:
        expected = [(await answers(model, [{}] * n + [kind]))[n] for n, kind in enumerate(KINDS)]
    for speculate in (1, 5, 16, "auto"):
        async with opened(layout=layout, pool=pool, sequences=6, speculate=speculate) as model:
            assert await answers(model, KINDS) == expected
            counts = await model.statistics()
        assert counts.running == counts.waiting == counts.failed == 0
        if speculate != "auto":
            assert 0 < counts.accepted_tokens <= counts.proposed_tokens


async def test_pieces_are_those_of_the_answer_and_each_has_its_scores() -> None:
    async with opened(speculate=8) as model:
        question = user(PROMPTS[0])
        whole = await model.chat(question, temperature=0, logprobs=1)
        pieces = [piece async for piece in model.stream(question, temperature=0, logprobs=1)]
        assert (await model.statistics()).accepted_tokens > 0
    assert "".join(piece.text for piece in pieces) == whole.text
    assert [token for piece in pieces for token in piece.tokens] == list(whole.tokens)
    scores = [score for piece in pieces for score in piece.scores]
    assert [score.logprob for score in scores] == pytest.approx([score.logprob for score in whole.scores], abs=1e-4)
    assert [score.token for score in scores] == list(whole.tokens)


def chi_square(found: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], int]) -> tuple[float, int]:
    """Statistic of two samples of one size, and its degrees of freedom; rare outcomes count together."""
    rare = [key for key in {*found, *expected} if found.get(key, 0) + expected.get(key, 0) < 10]
    cells = [(found.get(key, 0), expected.get(key, 0)) for key in {*found, *expected} - {*rare}]
    cells.append((sum(found.get(key, 0) for key in rare), sum(expected.get(key, 0) for key in rare)))
    cells = [cell for cell in cells if sum(cell)]
    return sum((a - b) ** 2 / (a + b) for a, b in cells), len(cells) - 1


async def test_the_distribution_of_answers_is_the_same() -> None:
    """Other seeds on both sides, so that only the distributions can be equal; the last tokens vary, as they should."""
    prompt, how = "abababbabaab", {"grammar": "root ::= [ab]{6}", "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    counted: list[dict[tuple[int, ...], int]] = []
    for speculate, seeds in (("off", range(600)), (3, range(1000, 1600))):
        async with opened(speculate=speculate, sequences=8) as model:
            replies = await asyncio.gather(
                *(model.complete(prompt, max_tokens=8, temperature=7.0, seed=seed, **how) for seed in seeds)
            )
            accepted = (await model.statistics()).accepted_tokens
        found: dict[tuple[int, ...], int] = {}
        for reply in replies:
            found[reply.tokens] = found.get(reply.tokens, 0) + 1
        counted.append(found)
    assert accepted > 100, "proposals take part"
    statistic, freedom = chi_square(*counted)
    assert freedom >= 8, "the answers vary"
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5, "about four deviations of a chi-square distribution"


async def test_a_cancel_and_a_deadline_leave_nothing_behind() -> None:
    endless = {"grammar": LOOPING, "max_tokens": 400, "temperature": 0}
    async with opened(speculate=8, sequences=3) as model:
        expected = await model.chat(user(PROMPTS[0]), temperature=0)
        before = await model.statistics()
        async with held(
            model, 6, lambda: [asyncio.create_task(model.complete(f"x{n}", **endless)) for n in range(3)]
        ) as tasks:
            tasks[0].cancel()
        late = asyncio.create_task(model.complete("y", within=0.01, **endless))
        done = await asyncio.gather(*tasks, late, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert [reply.usage.completion_tokens for reply in done[1:3]] == [400, 400]  # type: ignore[union-attr]
        assert type(done[3]).__name__ == "DeadlineExceeded"
        after = await model.statistics()
        assert after.accepted_tokens > before.accepted_tokens
        assert (after.running, after.waiting, after.cancelled, after.expired) == (0, 0, 1, 1)
        assert after.used_tokens == after.resident_prefix_tokens
        assert said(await model.chat(user(PROMPTS[0]), temperature=0)) == said(expected)


async def test_a_full_pool_and_priorities_take_calls_away_in_the_middle_and_all_end_the_same() -> None:
    kinds = [{"grammar": LOOPING, "max_tokens": 90, "temperature": 0, "priority": n % 3} for n in range(9)]
    async with opened(speculate="off", context=256, sequences=1) as model:
        expected = [said(await model.complete(f"text {n}", **kind)) for n, kind in enumerate(kinds)]
    async with opened(speculate=7, layout="unified", pool=256, context=256, sequences=4) as model:
        async with held(
            model,
            5,
            lambda: [asyncio.create_task(model.complete(f"text {n}", **kinds[n])) for n in (0, 3, 6, 1, 4)],
        ) as first:
            others = [asyncio.create_task(model.complete(f"text {n}", **kinds[n])) for n in (7, 2, 5, 8)]
            await begun()
        replies = await asyncio.gather(*first, *others)
        counts = await model.statistics()
    assert [said(reply) for reply in replies] == [expected[n] for n in (0, 3, 6, 1, 4, 7, 2, 5, 8)]
    assert counts.preempted > 0
    assert counts.accepted_tokens > 0


async def test_a_step_that_has_no_room_for_proposals_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(speculate="off") as model:
        expected = await answers(model, KINDS[:3])
    async with opened(speculate=8) as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        engine, refused = backend._engine, 0
        decode, propose = engine.context.decode, engine._speculation.propose  # type: ignore[union-attr]
        plain = 0

        def proposed(step: StepPlan, *rest: Any) -> None:
            nonlocal plain
            propose(step, *rest)
            plain = step.tokens

        def full(count: int) -> int:
            nonlocal refused
            if plain and count > plain:
                refused += 1
                return 1
            return decode(count)

        monkeypatch.setattr(engine._speculation, "propose", proposed)
        monkeypatch.setattr(engine.context, "decode", full)
        assert await answers(model, KINDS[:3]) == expected
        assert (await model.statistics()).proposed_tokens == 0
    assert refused > 0


async def test_stretches_go_on_where_nothing_is_found_and_looks_are_made_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights write nothing that repeats: most steps are not planned, and some are looked at."""
    looks, propose = 0, Speculation.propose

    def counted(self: Speculation, *arguments: Any) -> None:
        nonlocal looks
        looks += 1
        propose(self, *arguments)

    monkeypatch.setattr(Speculation, "propose", counted)
    monkeypatch.setattr("local_models.speculation.speculation.LOOK_SHARE", 1e-4)
    async with opened(random_model("random-3m-spm", tmp_path), sequences=4) as model:
        await asyncio.gather(*(model.complete(f"{n}", max_tokens=300, temperature=1.5, seed=n) for n in range(4)))
        counts = await model.statistics()
    assert counts.steps >= 300
    assert 4 <= looks < 100


def small_model(path: Path, **changes: Any) -> Path:
    sizes: dict[str, Any] = {"width": 64, "layers": 1, "heads": 2, "kv_heads": 1, "hidden": 64, "vocabulary": 2048}
    make(Shape("draft", "llama", **sizes | changes), path)
    return path


@pytest.mark.parametrize("layout", ["split", "unified"])
async def test_a_draft_model_writes_ahead_for_all_calls_together(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a model writes ahead for itself: what it proposes is right, and a text it has not read is read in parts."""
    widths: list[int] = []
    compute = draft_module.DraftModel._compute

    def counted(self: Any, calls: Any, texts: Any) -> list[int]:
        widths.append(len(calls))
        return compute(self, calls, texts)

    monkeypatch.setattr(draft_module.DraftModel, "_compute", counted)
    pool = 4096 if layout == "unified" else 0
    questions = [f"Count from {n} to {n + 9}." for n in range(4)] + ["word " * 70 + "Count from 1 to 9."]

    async def counts(model: LocalModel) -> list[tuple[Any, ...]]:
        calls = (model.chat(user(question), temperature=0, max_tokens=40) for question in questions)
        return [said(reply) for reply in await asyncio.gather(*calls)]

    async with opened(speculate="off") as model:
        expected = await counts(model)
    async with opened(speculate=4, draft="tiny", layout=layout, pool=pool) as model:
        assert await counts(model) == expected
        assert await counts(model) == expected, "other calls are in the slots now"
        found = await model.statistics()
    assert max(widths) > 1
    assert found.accepted_tokens > 0.6 * found.proposed_tokens > 0


async def test_a_draft_model_works_in_a_process_of_its_own_and_counts_in_a_pool() -> None:
    question, draft = user(PROMPTS[0]), {"speculate": 4, "draft": "tiny"}
    async with opened(speculate="off") as model:
        expected = said(await model.chat(question, temperature=0))
    async with opened(isolated=True, **draft) as model:
        assert said(await model.chat(question, temperature=0)) == expected
        assert (await model.statistics()).accepted_tokens > 0
    sizes = []
    for options in ({"speculate": "off"}, draft):
        async with ModelPool(1 << 30, LoadOptions(threads=1, sequences=2, context=256, **options)) as pool:
            async with pool.use("tiny"):
                sizes.append(pool.used_bytes)
    assert sizes[1] - sizes[0] > TINY.stat().st_size


async def test_a_poor_draft_model_changes_nothing(tmp_path: Path) -> None:
    path = random_model("random-3m-spm", tmp_path)
    draft = small_model(tmp_path / "draft.gguf")
    async with opened(path, speculate="off", sequences=2) as model:
        expected = [said(await model.complete(f"text {n}", temperature=0, max_tokens=30)) for n in range(3)]
    async with opened(path, speculate=3, draft=f"gguf:{draft}", sequences=2) as model:
        calls = (model.complete(f"text {n}", temperature=0, max_tokens=30) for n in range(3))
        assert [said(reply) for reply in await asyncio.gather(*calls)] == expected
        assert (await model.statistics()).proposed_tokens > 0


async def test_a_draft_model_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="2048 tokens") as caught:
        await LocalModel.load("tiny", LoadOptions(draft=f"gguf:{small_model(tmp_path / 'other.gguf')}"))
    assert caught.value.field == "draft"
    assert "same family" in caught.value.hint
