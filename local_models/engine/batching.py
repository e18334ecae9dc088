"""Fills llama.cpp's batch arrays from the scheduler's rows, and reads scores of tokens."""

from collections.abc import Sequence
from itertools import compress, pairwise
from typing import Any

import numpy as np

from local_models.llama import Context, Floats, Weights
from local_models.replies import TokenScore
from local_models.scheduling.plan import StepPlan

Filler = tuple[int, int]
"""A sequence that has a token in a step for the sake of others, and the tokens that it holds without it."""


def fillers(context: Context, slots: Sequence[int]) -> list[Filler]:
    """Returns the sequences in small gaps between these, which ascend.

    llama.cpp computes neighbours together, and what stands behind a gap in a pass of its own, which costs more than a
    token that nobody asked for. `drop_fillers` takes it back.
    """
    if not context.most_fillers or slots[-1] - slots[0] < len(slots):
        return []
    found: list[Filler] = []
    for low, high in pairwise(slots):
        if 1 < high - low <= context.most_fillers + 1:
            between = [(slot, context.length(slot)) for slot in range(low + 1, high)]
            if all(held < context.sequence_tokens for _, held in between):
                found += between
    return found


def place_fillers(context: Context, slots: Sequence[int], found: Sequence[Filler]) -> list[int]:
    """Puts fillers into the batch of a step with a token for each of the slots; returns the places of those."""
    held = dict(found)
    order = sorted([*slots, *held])
    places = []
    for place, slot in enumerate(order):
        if slot in held:
            context.tokens[place], context.positions[place], context.wanted[place] = 0, held[slot], 0
        else:
            places.append(place)
    context.sequence[: len(order)] = order
    return places


def drop_fillers(context: Context, found: Sequence[Filler]) -> None:
    """Takes the tokens of fillers out of the KV cache, behind the decode."""
    for slot, held in found:
        context.keep(slot, held)


def fill_batch(context: Context, step: StepPlan) -> tuple[list[int], list[Filler]]:
    """Puts a step's rows into the batch.

    Returns the places to sample from, in the order of the rows that sample, and the fillers that are in the batch too.
    A row with proposed tokens has a place more for each of them.
    """
    rows = step.rows
    if step.tokens == len(rows) and not step.proposed:  # a token each, as in most steps
        slots = [row.call.slot for row in rows]
        found = fillers(context, slots)
        places: Any = place_fillers(context, slots, found) if found else slice(len(rows))
        context.tokens[places] = [row.call.tokens[row.start] for row in rows]
        context.positions[places] = [row.start - row.call.lag for row in rows]
        context.sequence[places] = slots
        samples = [row.samples for row in rows]
        context.wanted[places] = samples
        return list(compress(places if found else range(len(rows)), samples)), found
    tokens: list[int] = []
    positions: list[int] = []
    slots = []
    last: list[int] = []
    for row in rows:
        call, start, count = row.call, row.start, row.count
        tokens += call.tokens[start : start + count]
        positions += range(start - call.lag, start - call.lag + count)
        slots += [call.slot] * (count + len(row.proposed))
        if row.samples:
            last += range(len(tokens) - 1, len(tokens) + len(row.proposed))
            tokens += row.proposed
            positions += range(start + count, start + count + len(row.proposed))
    count = len(tokens)
    context.tokens[:count] = tokens
    context.positions[:count] = positions
    context.sequence[:count] = slots
    context.wanted[:count] = 0
    context.wanted[last] = 1
    return last, []


def token_score(weights: Weights, token: int, logits: Floats, count: int) -> TokenScore:
    """Returns the log-probability of the chosen token, and those of the `count` likeliest."""
    logprobs = logits.astype(np.float64)
    logprobs -= logprobs.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    top: tuple[tuple[str, float], ...] = ()
    if count:
        likeliest = np.argpartition(-logprobs, min(count, len(logprobs) - 1))[:count]
        ordered = likeliest[np.argsort(-logprobs[likeliest], kind="stable")]
        top = tuple((_token_text(weights, int(other)), float(logprobs[other])) for other in ordered)
    return TokenScore(token=token, text=_token_text(weights, token), logprob=float(logprobs[token]), top=top)


def _token_text(weights: Weights, token: int) -> str:
    piece = weights.piece(token)
    return piece.decode("utf-8", "replace") if piece else weights.text_of(token)
