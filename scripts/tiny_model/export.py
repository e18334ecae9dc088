"""Writes trained weights as a GGUF file: `python -m scripts.tiny_model.export WEIGHTS.npz MODEL.gguf`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_models.gguf import write
from scripts.tiny_model import vocabulary as v

HEADS, KV_HEADS, EPSILON, ROPE_BASE, CONTEXT = 4, 2, 1e-5, 10000.0, 2048


def metadata(width: int, layers: int, hidden: int) -> dict[str, Any]:
    """Returns the metadata of the model file."""
    return {
        "general.architecture": "llama",
        "general.name": "three-mode tiny",
        "general.license": "Apache-2.0",
        "general.file_type": 1,  # mostly F16
        "llama.context_length": CONTEXT,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": hidden,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": EPSILON,
        "llama.rope.dimension_count": width // HEADS,
        "llama.rope.freq_base": ROPE_BASE,
        "llama.vocab_size": len(v.TOKENS),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": list(v.TOKENS),
        "tokenizer.ggml.scores": [0.0] * len(v.TOKENS),
        "tokenizer.ggml.token_type": list(v.TYPES),
        "tokenizer.ggml.bos_token_id": v.IDS[v.BOS],
        "tokenizer.ggml.eos_token_id": v.IDS[v.END],
        "tokenizer.ggml.unknown_token_id": v.IDS[v.UNKNOWN],
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": v.CHAT_TEMPLATE,
    }


def export(weights: dict[str, NDArray[Any]], path: Path) -> None:
    """Writes weights as a model file: matrices in F16, vectors in F32."""
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk."))
    width, hidden = weights["token_embd"].shape[1], weights["blk.0.ffn_gate"].shape[0]
    tensors = {
        f"{name}.weight": array.astype(np.float32 if array.ndim == 1 else np.float16) for name, array in weights.items()
    }
    write(path, metadata(width, layers, hidden), tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes trained weights as a GGUF file.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    with np.load(options.weights) as saved:
        export({name: saved[name] for name in saved.files if not name.startswith("_")}, options.model)
    print(f"{options.model}: {options.model.stat().st_size} bytes")


if __name__ == "__main__":
    main()
