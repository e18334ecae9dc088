"""A small reranker of random weights in GGUF: an encoder with a classifier, as bge-reranker is."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from local_models.gguf.writer import write

WORDS = ["red", "apple", "blue", "sky", "green", "tree", "what", "is", "a", "the", "pear"]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*MARKS, *(f"\u2581{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz"]
WIDTH, HEADS, LAYERS, CONTEXT = 32, 4, 2, 64

Floats = NDArray[np.float32]


def make_reranker(path: Path, seed: int = 1, template: str = "") -> Path:
    """Writes the model; the same for the same seed. `template` says how it reads a query with a document."""
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
    metadata = {
        "general.architecture": "bert",
        "general.name": "random reranker",
        "bert.context_length": CONTEXT,
        "bert.embedding_length": WIDTH,
        "bert.feed_forward_length": 2 * WIDTH,
        "bert.block_count": LAYERS,
        "bert.attention.head_count": HEADS,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": 4,
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
    named = {"tokenizer.chat_template": "{{ messages }}", "tokenizer.chat_template.rerank": template}
    write(path, metadata | (named if template else {}), tensors)
    return path


def pair_of(query: str, document: str) -> list[int]:
    """The tokens that the model should read: [CLS] query [SEP] document [SEP]."""

    def ids(text: str) -> list[int]:
        return [TOKENS.index(f"\u2581{word}") for word in text.split()]

    return [2, *ids(query), 3, *ids(document), 3]
