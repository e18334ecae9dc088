"""Choice of the next token, in the order that GGUF models have it: penalties, top_k, top_p, min_p, temperature."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from random import getrandbits
from typing import Any

import torch

from local_models.options import Generate
from local_models.replies import TokenScore


class Chooser:
    """Chooses the tokens of one answer. A seed gives the same tokens again on the same device."""

    def __init__(self, how: Generate, ends: Collection[int]) -> None:
        """`ends` are the tokens that end an answer."""
        self._how, self._ends = how, sorted(ends)
        self._bias = {int(token): value for token, value in how.logit_bias.items()}
        self._penalises = how.repeat_penalty != 1 or how.frequency_penalty != 0 or how.presence_penalty != 0
        self._random: Any = None
        if how.temperature > 0:
            self._random = torch.Generator().manual_seed(how.seed if how.seed is not None else getrandbits(31))

    def choose(self, logits: Any, written: Sequence[int]) -> int:
        """Returns the next token; `logits` is one row in float32 on the CPU, `written` the answer so far."""
        how = self._how
        if self._bias or how.ignore_eos or len(written) < how.min_tokens:
            logits = self._biased(logits, written)
        if self._penalises:
            logits = self._penalised(logits, written)
        if how.temperature == 0:
            return int(logits.argmax())
        count = min(how.top_k or len(logits), len(logits))
        scores, tokens = torch.topk(logits, count)  # the likeliest first
        if how.top_p < 1:
            shares = scores.softmax(0)
            kept = int((shares.cumsum(0) - shares < how.top_p).sum())  # the first that reaches top_p is in
            scores, tokens = scores[: max(kept, 1)], tokens[: max(kept, 1)]
        if how.min_p > 0:
            shares = scores.softmax(0)
            kept = int((shares >= how.min_p * shares[0]).sum())
            scores, tokens = scores[:kept], tokens[:kept]
        shares = (scores / how.temperature).softmax(0)
        return int(tokens[torch.multinomial(shares, 1, generator=self._random)])

    def _biased(self, logits: Any, written: Sequence[int]) -> Any:
        logits = logits.clone()
        if self._bias:
            tokens, values = torch.tensor(list(self._bias)), torch.tensor(list(self._bias.values()), dtype=logits.dtype)
            logits[tokens] += values
        if self._ends and (self._how.ignore_eos or len(written) < self._how.min_tokens):
            logits[torch.tensor(self._ends)] = float("-inf")
        return logits

    def _penalised(self, logits: Any, written: Sequence[int]) -> Any:
        how = self._how
        counts = Counter(written[max(len(written) - how.penalty_window, 0) :])
        if not counts:
            return logits
        tokens, times = torch.tensor(list(counts)), torch.tensor(list(counts.values()), dtype=logits.dtype)
        scores = logits[tokens]
        scores = torch.where(scores > 0, scores / how.repeat_penalty, scores * how.repeat_penalty)
        logits = logits.clone()
        logits[tokens] = scores - times * how.frequency_penalty - how.presence_penalty
        return logits


def score_of(logits: Any, token: int, most: int, decode: Callable[[Sequence[int]], str]) -> TokenScore:
    """Returns the log-probability of a token, and those of the `most` likeliest ones."""
    logs = logits.log_softmax(0)
    likeliest: tuple[tuple[str, float], ...] = ()
    if most:
        values, tokens = torch.topk(logs, min(most, len(logs)))
        likeliest = tuple((decode([t]), v) for t, v in zip(tokens.tolist(), values.tolist(), strict=True))
    return TokenScore(token=token, text=decode([token]), logprob=float(logs[token]), top=likeliest)
