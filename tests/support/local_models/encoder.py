"""A small encoder of random weights in GGUF, as BERT is, and the same network in numpy."""

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_models.gguf.writer import write

WORDS = ["red", "apple", "blue", "sky", "green", "tree", "what", "is", "a", "the", "pear"]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*MARKS, *(f"\u2581{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz"]
WIDTH, HEADS, LAYERS, CONTEXT = 32, 4, 2, 64
MEAN, CLS, LAST, RANK = 1, 2, 3, 4
EPSILON = 1e-12

Floats = NDArray[np.float32]


def encoder_tensors(seed: int = 1) -> dict[str, Floats]:
    """The weights; the same for the same seed."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def norm(name: str) -> dict[str, Floats]:
        return {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.zeros(WIDTH, np.float32)}

    def linear(name: str, out: int = WIDTH, width: int = WIDTH) -> dict[str, Floats]:
        return {f"{name}.weight": weights(out, width), f"{name}.bias": weights(out)}

    tensors = {
        "token_embd.weight": weights(len(TOKENS), WIDTH),
        "token_types.weight": weights(2, WIDTH),
        "position_embd.weight": weights(CONTEXT, WIDTH),
        **norm("token_embd_norm"),
        **linear("cls"),
        **linear("cls.output", 1),
    }
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors |= linear(f"{block}.{name}")
        tensors |= norm(f"{block}.attn_output_norm") | norm(f"{block}.layer_output_norm")
        tensors |= linear(f"{block}.ffn_up", 2 * WIDTH) | linear(f"{block}.ffn_down", WIDTH, 2 * WIDTH)
    return tensors


def make_encoder(path: Path, pooling: int, seed: int = 1, **more: Any) -> Path:
    """Writes the model; `more` is metadata of the tokenizer."""
    tensors = encoder_tensors(seed)
    if pooling != RANK:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("cls")}
    metadata = {
        "general.architecture": "bert",
        "general.name": "random encoder",
        "bert.context_length": CONTEXT,
        "bert.embedding_length": WIDTH,
        "bert.feed_forward_length": 2 * WIDTH,
        "bert.block_count": LAYERS,
        "bert.attention.head_count": HEADS,
        "bert.attention.layer_norm_epsilon": EPSILON,
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.scores": [0.0] * len(TOKENS),
        "tokenizer.ggml.token_type": [3] * len(MARKS) + [1] * (len(TOKENS) - len(MARKS)),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.seperator_token_id": 3,  # as llama.cpp spells it
        "tokenizer.ggml.mask_token_id": 4,
    }
    write(path, metadata | {f"tokenizer.{name}": value for name, value in more.items()}, tensors)
    return path


def ids(text: str) -> list[int]:
    """The tokens of words, without marks."""
    return [TOKENS.index(f"\u2581{word}") for word in text.split()]


def vector_in_numpy(text: str, pooling: int, seed: int = 1) -> Floats:
    """The vector of a text of length 1, computed without llama.cpp."""
    w = encoder_tensors(seed)

    def linear(name: str, x: Floats) -> Floats:
        made: Floats = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        return made

    def norm(x: Floats) -> Floats:
        made: Floats = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
        return made

    tokens = [2, *ids(text), 3]
    x = norm(w["token_embd.weight"][tokens] + w["token_types.weight"][0] + w["position_embd.weight"][: len(tokens)])
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        q, k, v = (linear(f"{block}.attn_{name}", x).reshape(-1, HEADS, size).swapaxes(0, 1) for name in "qkv")
        scores = np.exp(q @ k.swapaxes(1, 2) / sqrt(size))
        read = (scores / scores.sum(-1, keepdims=True)) @ v
        x = norm(x + linear(f"{block}.attn_output", read.swapaxes(0, 1).reshape(-1, WIDTH)))
        up = linear(f"{block}.ffn_up", x)
        gelu = 0.5 * up * (1 + np.tanh(sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        x = norm(x + linear(f"{block}.ffn_down", gelu))
    pooled = {MEAN: x.mean(0), CLS: x[0], LAST: x[-1]}[pooling]
    made: Floats = pooled / np.linalg.norm(pooled)
    return made
