"""Greedy answers with speculation, prefix re-use, preemption and kept prompts equal plain greedy, prompt by prompt.

Rounding depends on how many tokens are computed together. Where the two likeliest tokens are within it, the test names
the tie, takes either, and compares the rest with a plain answer that goes on behind that token.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_peers.random_models import model as random_model
from local_models import Generate, LocalModel, Reply, Statistics
from local_models.engine import keeping
from tests.support.local_models.models import begun, held, opened
from tests.support.local_models.real_model import real_model

logger = logging.getLogger(__name__)
ROUNDING = 0.03  # log-probability
SHARED = (
    "Write the text again, word by word. Text: Ida lives in Oslo, is 31 years old, and has 2 cats. "
    "Again: Ida lives in Oslo, is 31 years old, and has 2 cats. "
)
PEOPLE = ("Anna", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Henry")
CITIES = ("Berlin", "Paris", "Madrid", "Rome", "Vienna")
CONTEXT = 512


@pytest.fixture(autouse=True)
def whatever_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All prompts are saved and restored, however long the machine takes."""
    monkeypatch.setattr(keeping, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(keeping, "RESTORE_SHARE", 1e9)


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model("random-30m-spm", tmp_path_factory.mktemp("models"))


def text(number: int) -> str:
    """A prompt that begins like all others, and whose answer repeats it."""
    name, city = PEOPLE[number % len(PEOPLE)], CITIES[number % len(CITIES)]
    said = f"{name} lives in {city}, is {20 + number} years old, and has {number % 7} cats and {number % 5} birds."
    return f"{SHARED}Text: {said} Again: {name} lives"


class PlainGreedy:
    """Answers of a model without any of it: one call at a time, and nothing is used twice."""

    def __init__(self, model: LocalModel, tokens: int) -> None:
        self._model, self._tokens = model, tokens
        self._known: dict[tuple[int, ...], Reply] = {}

    async def ties(self, prompt: Sequence[int], found: Sequence[int]) -> list[str]:
        """Names the ties in which another answer took the other token; fails where it is no plain one."""
        ties: list[str] = []
        at = 0
        while at < len(found):
            plain = await self._answer((*prompt, *found[:at]), self._tokens - at)
            same = next((n for n, (a, b) in enumerate(zip(plain.tokens, found[at:], strict=True)) if a != b), None)
            if same is None:
                break
            (likeliest, high), (second, low) = plain.scores[same].top
            other, at = await self._model.detokenize([found[at + same]]), at + same + 1
            assert other == second, f"token {at} is {other!r}, and plain {likeliest!r} or else {second!r}"
            assert high - low <= ROUNDING, (
                f"token {at} is {other!r} at {low:.4f}, and plain {likeliest!r} at {high:.4f}"
            )
            ties.append(f"token {at}: {likeliest!r} at {high:.4f}, {other!r} at {low:.4f}")
        return ties

    async def _answer(self, prompt: tuple[int, ...], tokens: int) -> Reply:
        if prompt not in self._known:
            how = Generate(max_tokens=tokens, temperature=0, ignore_eos=True, logprobs=2)
            self._known[prompt] = await self._model.complete(prompt, how)
        return self._known[prompt]


async def _all_on(path: Path, folder: Path, prompts: list[list[int]], tokens: int) -> tuple[list[Reply], Statistics]:
    """Answers where everything is on; calls of higher priority come once the others run, and take their places."""

    def ask(numbers: range, priority: int) -> list[asyncio.Task[Reply]]:
        how = Generate(max_tokens=tokens, temperature=0, ignore_eos=True, priority=priority)
        return [asyncio.create_task(model.complete(prompts[n], how)) for n in numbers]

    options: dict[str, Any] = {
        "speculate": 6,
        "layout": "unified",
        "pool": 1024,
        "context": CONTEXT,
        "cache_dir": str(folder),
    }
    async with opened(path, sequences=3, **options) as model:
        first = range(min(3, len(prompts)))
        async with held(model, 2, lambda: ask(first, 0)) as calls:
            others = ask(range(len(first), len(prompts)), 1)
            await begun()
        return await asyncio.gather(*calls, *others), await model.statistics()


async def compare(path: Path, folder: Path, count: int, tokens: int) -> None:
    """Compares answers that are computed, and those that are restored after a restart."""
    async with opened(path, sequences=1, context=CONTEXT, speculate="off", prefix_tokens=0) as model:
        prompts = [await model.tokenize(text(number)) for number in range(count)]
        computed, first = await _all_on(path, folder, prompts, tokens)
        restored, second = await _all_on(path, folder, prompts, tokens)
        plain = PlainGreedy(model, tokens)
        for when, replies in (("computed", computed), ("restored", restored)):
            for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
                for tie in await plain.ties(prompt, reply.tokens):
                    logger.warning("%s, prompt %d, %s: a tie at %s", path.stem, number, when, tie)
        counts = await model.statistics()
    for found in (first, second):
        assert found.proposed_tokens >= found.accepted_tokens > 0
        assert found.preempted > 0
        assert found.reused_tokens > 0
        assert (found.failed, found.kept_refused) == (0, 0)
    assert (first.kept_hits, second.kept_hits > 0) == (0, True)
    assert (counts.proposed_tokens, counts.reused_tokens, counts.kept_hits) == (0, 0, 0), "the plain ones are plain"


async def test_a_small_real_model_writes_the_same(tmp_path: Path) -> None:
    await compare(real_model(), tmp_path, 4, 16)


async def test_a_model_of_30m_writes_the_same(thirty: Path, tmp_path: Path) -> None:
    await compare(thirty, tmp_path, 5, 16)


@pytest.mark.soak
@pytest.mark.parametrize("which", ["SmolLM2", "30M"])
async def test_many_prompts_get_the_same_long_answers(which: str, thirty: Path, tmp_path: Path) -> None:
    await compare(real_model() if which == "SmolLM2" else thirty, tmp_path, 40, 100)
