"""What the training of the tiny model is fed with, and what decides the mixture.

The training itself needs JAX, and an hour.
"""

import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from scripts.tiny_model import tasks, vocabulary
from scripts.tiny_model.batches import Batch, packed, right, tokens_of
from scripts.tiny_model.shares import Errors

EVEN = dict.fromkeys(tasks.TASKS, 1.0)


def batch(seed: int = 1) -> Batch:
    return packed(12, 128, partial(tasks.mixed, random.Random(seed), 3, EVEN))


def test_what_is_learned_is_the_next_token_of_the_same_conversation() -> None:
    made = batch().arrays
    for row in range(12):
        for place, target, weight in zip(made["wanted"][row], made["targets"][row], made["weight"][row], strict=True):
            if weight > 0 and place + 1 < 128 and made["segments"][row, place + 1] == made["segments"][row, place]:
                assert made["tokens"][row, place + 1] == target


def test_only_what_the_model_says_is_learned() -> None:
    made = batch()
    learned = int((made.arrays["weight"] > 0).sum())
    assert 0.1 < learned / (12 * 128) < 0.4
    assert set(made.tasks) >= set(tasks.TASKS)
    ends = vocabulary.IDS[vocabulary.END]
    for number in range(1, len(made.tasks) + 1):
        said = made.arrays["targets"][made.answers == number]
        assert ends not in said[:-1]


def test_an_answer_is_right_as_a_whole_or_not_at_all() -> None:
    made = batch()
    correct = np.ones(made.answers.shape, bool)
    assert all(good for _, good in right(made, correct))
    correct[tuple(np.argwhere(made.answers == 3)[-1])] = False
    assert [good for _, good in right(made, correct)].count(False) == 1
    assert right(made, correct)[2] == (made.tasks[2], False)


def test_every_fact_of_the_nine_kinds_is_asked_for() -> None:
    rng = random.Random(5)
    asked = {tasks.one("recall", rng, measure=True).turns[0].answer.split()[1] for _ in range(300)}
    assert asked == set(vocabulary.KEYS)


def test_a_fact_follows_its_key_with_no_token_between() -> None:
    ids, _ = tokens_of(tasks.Conversation("Your team is x7.", []))
    words = [vocabulary.TOKENS[token] for token in ids]
    assert words[words.index(" team is ") + 1] == "x"


def test_the_task_that_is_wrong_most_gets_most() -> None:
    errors = Errors()
    for _ in range(200):
        errors.add([("echo", True), ("add", False), ("count", True), ("count", False)])
    shares = errors.shares(0.01)
    assert shares["add"] > shares["count"] > shares["echo"] > 0
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert shares["recall"] == shares["tool"]  # not seen: as at the start


@pytest.mark.parametrize("command", ["train", "adapter"])
def test_without_the_training_group_the_error_says_how_to_install_it(command: str) -> None:
    code = f"import sys; sys.modules['jax'] = None; import scripts.tiny_model.{command}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "`python3 scripts/venv.py train` installs" in done.stderr
