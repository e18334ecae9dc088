"""Projectors of random weights in GGUF: a vision transformer, and what makes rows of a text model of its patches."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from local_models.gguf.writer import write
from tests.support.local_models.reciter import byte_texts

SIZE, PATCH, WIDTH, LAYERS = 32, 8, 32, 2
PATCHES = (SIZE // PATCH) ** 2  # tokens of an image

Floats = NDArray[np.float32]


def make_projector(path: Path, text_width: int, kind: str = "mlp", seed: int = 1) -> Path:
    """Writes a projector for a model whose embeddings are `text_width` wide. Of kind `mlp` it is as LLaVA has one; of
    kind `gemma3` four patches become a row, rows see each other, and stand between texts that mark them; of kind
    `qwen2vl_merger` the model has to be one whose positions have two dimensions."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def linear(name: str, out: int, width: int) -> dict[str, Floats]:
        return {f"{name}.weight": weights(out, width), f"{name}.bias": weights(out)}

    def norm(name: str) -> dict[str, Floats]:
        return {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.zeros(WIDTH, np.float32)}

    tensors = {
        "v.patch_embd.weight": weights(WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": weights(PATCHES + (kind == "mlp"), WIDTH),
        **norm("v.post_ln"),
    }
    if kind == "qwen2vl_merger":
        tensors["v.patch_embd.weight.1"] = weights(WIDTH, 3, PATCH, PATCH)
        tensors |= linear("mm.0", 4 * WIDTH, 4 * WIDTH) | linear("mm.2", text_width, 4 * WIDTH)
        del tensors["v.position_embd.weight"]
    elif kind == "mlp":
        tensors |= {"v.class_embd": weights(WIDTH)} | norm("v.pre_ln")
        tensors |= linear("mm.0", text_width, WIDTH) | linear("mm.2", text_width, text_width)
    else:
        tensors["mm.input_projection.weight"] = weights(WIDTH, text_width)
        tensors["mm.soft_emb_norm.weight"] = np.ones(WIDTH, np.float32)
    for layer in range(LAYERS):
        block = f"v.blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            tensors |= linear(f"{block}.{name}", WIDTH, WIDTH)
        tensors |= norm(f"{block}.ln1") | norm(f"{block}.ln2")
        tensors |= linear(f"{block}.ffn_up", 2 * WIDTH, WIDTH) | linear(f"{block}.ffn_down", WIDTH, 2 * WIDTH)
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": "random projector",
        "general.file_type": 0,
        "clip.has_vision_encoder": True,
        "clip.projector_type": kind,
        "clip.use_gelu": True,
        "clip.vision.image_size": SIZE,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": 2 * WIDTH,
        "clip.vision.block_count": LAYERS,
        "clip.vision.projection_dim": text_width,
        "clip.vision.attention.head_count": 4,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.projector.scale_factor": 2,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    write(path, metadata, tensors)
    return path


def make_text_model(path: Path, width: int = 64, seed: int = 1) -> Path:
    """Writes a small model of random weights whose positions have two dimensions, as Qwen-VL has them."""
    random = np.random.default_rng(seed)
    texts = [*byte_texts(), "<|done|>"]

    def weights(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    tensors = {"token_embd.weight": weights(len(texts), width), "output_norm.weight": np.ones(width, np.float32)}
    for layer in range(2):
        block = f"blk.{layer}"
        tensors |= {f"{block}.attn_{name}.weight": weights(width, width) for name in ("q", "k", "v", "output")}
        tensors |= {f"{block}.attn_{name}.bias": weights(width) for name in "qkv"}
        tensors |= {f"{block}.{name}.weight": np.ones(width, np.float32) for name in ("attn_norm", "ffn_norm")}
        tensors |= {f"{block}.ffn_{name}.weight": weights(2 * width, width) for name in ("gate", "up")}
        tensors[f"{block}.ffn_down.weight"] = weights(width, 2 * width)
    metadata = {
        "general.architecture": "qwen2vl",
        "qwen2vl.context_length": 2048,
        "qwen2vl.embedding_length": width,
        "qwen2vl.block_count": 2,
        "qwen2vl.feed_forward_length": 2 * width,
        "qwen2vl.attention.head_count": 4,
        "qwen2vl.attention.head_count_kv": 4,
        "qwen2vl.attention.layer_norm_rms_epsilon": 1e-5,
        "qwen2vl.rope.dimension_sections": [2, 3, 3, 0],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [1] * 256 + [3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.eos_token_id": 256,
        "tokenizer.ggml.add_bos_token": False,
    }
    write(path, metadata, tensors)
    return path
