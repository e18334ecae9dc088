"""Conversations as rows of tokens, packed several to a row, with what the model says marked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.tiny_model import tasks, vocabulary

BOS = vocabulary.IDS[vocabulary.BOS]
ANSWERED = 0.4  # of the tokens of a row, at most, are learned from
TRIES = 4  # conversations that are made for the rest of a row
SHORTEST = 24  # tokens that must be left in a row for one more conversation
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    arrays: dict[str, NDArray[Any]]  # tokens, segments: [rows, length]; wanted, targets, weight: [rows, places]
    answers: Ints  # the number of the answer that a wanted place is part of, 0 for none: [rows, places]
    tasks: list[str]  # of the answers 1, 2, ...


def tokens_of(conversation: tasks.Conversation) -> tuple[list[int], list[int]]:
    """The ids, and for each the number of the answer that it is part of (0: the model does not say it)."""
    ids, said, answer = [BOS], [0], 0
    for text, by_model in tasks.rendered(conversation):
        part = vocabulary.encode(text)
        answer += by_model
        ids += part
        said += [answer * by_model] * len(part)
    return ids, said


def packed(rows: int, length: int, make: Callable[[], tasks.Conversation]) -> Batch:
    """Rows that are full of whole conversations; an answer weighs less the longer it is, but not in full."""
    tokens, targets, segments, answers = (np.zeros((rows, length), np.int32) for _ in range(4))
    asked = [""]
    for row in range(rows):
        at, segment, tries = 0, 1, TRIES
        while length - at > SHORTEST and tries:
            conversation = make()
            ids, said = tokens_of(conversation)
            if len(ids) - 1 > length - at and at:
                tries -= 1  # perhaps the next is short enough
                continue
            take = min(len(ids) - 1, length - at)
            here = (row, slice(at, at + take))
            tokens[here], targets[here], segments[here] = ids[:take], ids[1 : take + 1], segment
            number = np.asarray(said[1 : take + 1], np.int32)
            answers[here] = np.where(number > 0, number + len(asked) - 1, 0)
            asked += [turn.task for turn in conversation.turns]
            at, segment = at + take, segment + 1
    # What the model says is about a quarter of the tokens: the places of it, as many in each row.
    wanted = np.argsort(answers == 0, axis=1, kind="stable")[:, : int(length * ANSWERED)].astype(np.int32)
    answers, targets = np.take_along_axis(answers, wanted, 1), np.take_along_axis(targets, wanted, 1)
    lengths = np.maximum(np.bincount(answers.ravel(), minlength=len(asked)), 1)
    weight = np.where(answers > 0, lengths[answers] ** -0.5, 0).astype(np.float32)
    arrays = {"tokens": tokens, "segments": segments, "wanted": wanted, "targets": targets, "weight": weight}
    return Batch(arrays, answers, asked[1:])


def right(batch: Batch, correct: NDArray[np.bool_]) -> list[tuple[str, bool]]:
    """Task and exact match of each answer that is in the batch, by the tokens that were guessed right."""
    wrong = np.bincount(batch.answers.ravel(), ~correct.ravel(), minlength=len(batch.tasks) + 1)
    there = np.bincount(batch.answers.ravel(), minlength=len(batch.tasks) + 1)
    return [(task, wrong[n] == 0) for n, task in enumerate(batch.tasks, 1) if there[n]]
