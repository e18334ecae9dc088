"""A model that recites: after a token comes the one behind it in a script, whatever came before.

Its network is an embedding and an output alone, so that a test says exactly what a real engine samples: marks that are
control tokens, calls that end in the middle, names that nobody has. Pieces of the script are tokens, each of them once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from local_models.gguf.writer import write

WIDTH, CONTEXT = 512, 2048
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
END = "<|done|>"


def byte_texts() -> list[str]:
    """The texts of all bytes, as vocabularies of the kind `gpt2` spell them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def make_reciter(
    path: Path,
    script: Sequence[str],
    *,
    template: str = "",
    control: Sequence[str] = (),
    begins: str = "\n",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model that says `script` after a prompt that ends with the byte `begins`, and then ends.

    `control` are texts that are control tokens, in the script or not; `more` is metadata.
    """
    texts, kinds = byte_texts(), [NORMAL] * 256
    for piece in dict.fromkeys([END, *control, *script]):
        texts.append(piece)
        kinds.append(CONTROL if piece == END or piece in control else USER_DEFINED)
    assert len(set(script)) == len(script), "a piece has one place in the script"
    assert len(texts) <= WIDTH
    end = texts.index(END)
    chain = [ord(begins), *(texts.index(piece, 256) for piece in script), end]
    table = np.full(len(texts), end)
    table[chain[:-1]] = chain[1:]
    embedding = np.eye(len(texts), WIDTH, dtype=np.float32)
    output = np.zeros((len(texts), WIDTH), np.float32)
    output[table, np.arange(len(texts))] = 1.0
    zeros, ones = np.zeros((WIDTH, WIDTH), np.float16), np.ones(WIDTH, np.float32)
    block = {f"blk.0.{name}.weight": zeros for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    block |= {f"blk.0.{name}.weight": np.zeros((32, WIDTH), np.float16) for name in ("ffn_gate", "ffn_up")}
    block |= {"blk.0.ffn_down.weight": np.zeros((WIDTH, 32), np.float16)}
    block |= {f"blk.0.{name}.weight": ones for name in ("attn_norm", "ffn_norm")}
    tensors = {"token_embd.weight": embedding, "output.weight": output, "output_norm.weight": ones, **block}
    metadata = {
        "general.architecture": "llama",
        "general.name": "reciter",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": 32,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 8,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // 8,
        "llama.vocab_size": len(texts),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
    }
    named = {"tokenizer.chat_template": template} if template else {}
    write(path, metadata | named | dict(more or {}), tensors)
    return path
