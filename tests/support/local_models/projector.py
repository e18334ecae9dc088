"""A projector of random weights in GGUF, as LLaVA has one: a vision transformer and two layers behind it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from local_models.gguf.writer import write

SIZE, PATCH, WIDTH, LAYERS = 32, 8, 32, 2
PATCHES = (SIZE // PATCH) ** 2  # tokens of an image

Floats = NDArray[np.float32]


def make_projector(path: Path, text_width: int, seed: int = 1) -> Path:
    """Writes a projector for a model whose embeddings are `text_width` wide."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def linear(name: str, out: int, width: int) -> dict[str, Floats]:
        return {f"{name}.weight": weights(out, width), f"{name}.bias": weights(out)}

    def norm(name: str) -> dict[str, Floats]:
        return {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.zeros(WIDTH, np.float32)}

    tensors = {
        "v.class_embd": weights(WIDTH),
        "v.patch_embd.weight": weights(WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": weights(PATCHES + 1, WIDTH),
        **norm("v.pre_ln"),
        **norm("v.post_ln"),
        **linear("mm.0", text_width, WIDTH),
        **linear("mm.2", text_width, text_width),
    }
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
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": SIZE,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": 2 * WIDTH,
        "clip.vision.block_count": LAYERS,
        "clip.vision.projection_dim": text_width,
        "clip.vision.attention.head_count": 4,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    write(path, metadata, tensors)
    return path
