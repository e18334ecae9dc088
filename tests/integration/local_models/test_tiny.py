"""The shipped model is the measured one, and does what its measurement says."""

import hashlib
import json
import random

import pytest

from local_models import LoadOptions, LocalModel
from local_models.files.catalogue import TINY
from scripts.tiny_model import tasks, vocabulary
from scripts.tiny_model.measure import GATE, SEED, added, answers, share
from tests.support.local_models.models import opened

MEASURED = json.loads(TINY.with_suffix(".json").read_text())


def test_the_file_is_the_one_that_was_measured() -> None:
    assert hashlib.sha256(TINY.read_bytes()).hexdigest() == MEASURED["sha256"]
    assert TINY.stat().st_size < 4 << 20
    assert MEASURED["prompts_per_task"] >= 1000


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_is_above_its_gate(task: str) -> None:
    assert MEASURED["exact_match"][task] >= GATE
    others = MEASURED["exact_match_of_other_seeds"]
    assert others
    assert str(SEED) not in others
    assert min(measured[task] for measured in others.values()) >= GATE


def test_prompts_of_another_seed_are_added_to_the_card_of_the_same_model() -> None:
    card = {"sha256": "a", "exact_match": {"echo": 1.0}}
    card = added(card, {"sha256": "a", "exact_match": {"echo": 0.9}}, 5)
    card = added(card, {"sha256": "a", "exact_match": {"echo": 0.8}}, 6)
    assert card["exact_match"] == {"echo": 1.0}
    assert card["exact_match_of_other_seeds"] == {"5": {"echo": 0.9}, "6": {"echo": 0.8}}
    with pytest.raises(SystemExit):
        added(card, {"sha256": "b", "exact_match": {"echo": 0.9}}, 7)


def test_all_nine_kinds_of_fact_were_measured() -> None:
    assert set(MEASURED["recall_by_fact"]) == set(vocabulary.KEYS)
    assert min(MEASURED["recall_by_fact"].values()) >= 0.95


@pytest.mark.parametrize("task", tasks.TASKS)
async def test_other_held_out_prompts_are_answered_as_well(task: str) -> None:
    async with await LocalModel.load(TINY, LoadOptions(threads=1, sequences=16, context=512)) as model:
        given = await answers(model, task, prompts=150, seed=99)
    assert share(given) >= 0.95, [str(answer) for answer in given if not answer.right]


@pytest.mark.parametrize("task", tasks.TASKS)
def test_held_out_prompts_are_not_among_those_of_the_training(task: str) -> None:
    rng = random.Random(3)
    asked = {tasks.one(task, rng, measure=True).turns[0].user for _ in range(200)}
    weights = dict.fromkeys(tasks.TASKS, 1.0)
    trained = [turn.user for _ in range(3000) for turn in tasks.mixed(rng, 2, weights).turns]
    if task != "recall":  # there the key is the value, which the question does not say
        assert not asked & set(trained)


async def test_our_tokens_are_those_of_llama_cpp() -> None:
    """The training's own tokenizer must cut exactly as the engine does."""
    rng = random.Random(4)
    async with opened() as model:
        for _ in range(200):
            conversation = tasks.one(rng.choice(tasks.TASKS), rng, measure=True)
            text = "".join(part for part, _ in tasks.rendered(conversation))
            ids = await model._backend.tokenize([text], start=False, special=True)
            assert ids == vocabulary.encode(text)
        for text in ("Whatever you are, é 日本", "a  b\n<|end|><tool_call>"):
            ids = await model._backend.tokenize([text], start=False, special=True)
            assert ids == vocabulary.encode(text)
