"""Fills llama.cpp's batch arrays from the scheduler's rows, and reads scores of tokens."""

import numpy as np

from local_models.llama import Context, Floats, Weights
from local_models.replies import TokenScore
from local_models.scheduling.scheduler import StepPlan


def fill_batch(context: Context, step: StepPlan) -> list[int]:
    """Puts a step's rows into the batch; returns the places to sample from, in the order of the rows that sample."""
    rows = step.rows
    if step.tokens == len(rows) and not step.reads:  # writers only, as in most steps
        tokens = [row.call.tokens[row.start] for row in rows]
        positions = [row.start for row in rows]
        slots = [row.call.slot for row in rows]
        last = list(range(len(rows)))
    else:
        tokens, positions, slots, last = [], [], [], []
        for row in rows:
            call, start, count = row.call, row.start, row.count
            tokens += call.tokens[start : start + count]
            positions += range(start, start + count)
            slots += [call.slot] * count
            if row.samples:
                last.append(len(tokens) - 1)
    count = len(tokens)
    context.tokens[:count] = tokens
    context.positions[:count] = positions
    context.sequence[:count] = slots
    context.wanted[:count] = 0
    context.wanted[last] = 1
    return last


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
