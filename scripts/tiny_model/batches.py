"""Batches: conversations as rows of tokens, several in a row, with the answers of the model marked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.tiny_model import tasks, vocabulary

BOS = vocabulary.IDS[vocabulary.BOS]
ANSWERED = 0.4  # largest part of a row's tokens that are trained on
TRIES = 4  # conversations to try for the rest of a row
SHORTEST = 24  # tokens that must be left in a row for one more conversation
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Arrays of one training step."""

    arrays: dict[str, NDArray[Any]]  # tokens, segments: [rows, length]; wanted, targets, weight: [rows, places]
    answers: Ints  # the number of the answer that a wanted place is part of, 0 for none: [rows, places]
    tasks: list[str]  # of the answers 1, 2, ...


def tokens_of(conversation: tasks.Conversation) -> tuple[list[int], list[int]]:
    """Returns the ids, and for each the number of the answer that it belongs to (0: not of an answer)."""
    ids, said, answer = [BOS], [0], 0
    for text, by_model in tasks.rendered(conversation):
        part = vocabulary.encode(text)
        answer += by_model
        ids += part
        said += [answer * by_model] * len(part)
    return ids, said


def packed(rows: int, length: int, make: Callable[[], tasks.Conversation]) -> Batch:
    """Packs whole conversations into rows; the weight of a token falls with the square root of its answer's length."""
    tokens, targets, segments, answers = (np.zeros((rows, length), np.int32) for _ in range(4))
    task_of = [""]
    for row in range(rows):
        at, segment, tries = 0, 1, TRIES
        while length - at > SHORTEST and tries:
            conversation = make()
            ids, said = tokens_of(conversation)
            if len(ids) - 1 > length - at and at:
                tries -= 1  # the next one may be short enough
                continue
            take = min(len(ids) - 1, length - at)
            place = (row, slice(at, at + take))
            tokens[place], targets[place], segments[place] = ids[:take], ids[1 : take + 1], segment
            number = np.asarray(said[1 : take + 1], np.int32)
            answers[place] = np.where(number > 0, number + len(task_of) - 1, 0)
            task_of += [turn.task for turn in conversation.turns]
            at, segment = at + take, segment + 1
    # Answers are about a quarter of the tokens. Every row gets the same number of places, those of answers first.
    wanted = np.argsort(answers == 0, axis=1, kind="stable")[:, : int(length * ANSWERED)].astype(np.int32)
    answers, targets = np.take_along_axis(answers, wanted, 1), np.take_along_axis(targets, wanted, 1)
    lengths = np.maximum(np.bincount(answers.ravel(), minlength=len(task_of)), 1)
    weight = np.where(answers > 0, lengths[answers] ** -0.5, 0).astype(np.float32)
    arrays = {"tokens": tokens, "segments": segments, "wanted": wanted, "targets": targets, "weight": weight}
    return Batch(arrays, answers, task_of[1:])


def right(batch: Batch, correct: NDArray[np.bool_]) -> list[tuple[str, bool]]:
    """Returns the task of each answer in the batch, and whether all its tokens were predicted right."""
    wrong = np.bincount(batch.answers.ravel(), ~correct.ravel(), minlength=len(batch.tasks) + 1)
    there = np.bincount(batch.answers.ravel(), minlength=len(batch.tasks) + 1)
    return [(task, wrong[n] == 0) for n, task in enumerate(batch.tasks, 1) if there[n]]
