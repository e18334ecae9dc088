"""What a grammar lets a model say."""

from typing import Any

import numpy as np

from local_models.errors import EngineFailed
from local_models.llama import Sampler, Sampling, Weights
from local_models.openings import Opening


def allows(weights: Weights, grammar: str, text: str, opens: Opening | None = None) -> bool:
    """Whether llama.cpp lets a model that wants to say this say it, token by token, and end there."""
    shown = {token: weights.text_of(token).encode() for token in weights.control}
    sampler = Sampler(weights, Sampling(grammar=grammar, opens=opens, shown=shown))
    context: Any = None  # a sampler with a grammar reads the scores that it is given
    try:
        for token in [*weights.tokenize(text, special=True, start=False), weights.eos]:
            scores = np.zeros(weights.vocabulary, np.float32)
            scores[token] = 50.0
            if sampler.sample(context, 0, scores) != token:
                return False
        return True
    except EngineFailed:  # it allows no token at all here
        return False
    finally:
        sampler.close()
