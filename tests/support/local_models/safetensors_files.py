"""Folders of Hugging Face models, written byte by byte: the format needs no library, and a test may break it."""

import json
from pathlib import Path
from typing import Any

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "vocab_size": 400,
}


def safetensors(header: Any, data: bytes) -> bytes:
    """The bytes of a file."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(*shape: int, at: int = 0, dtype: str = "F32", size: int = 4) -> dict[str, Any]:
    """The entry of a tensor whose data begin at an offset."""
    elements = 1
    for side in shape:
        elements *= side
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + elements * size]}


def model_folder(folder: Path, weights: bytes | None = None, **config: Any) -> Path:
    """Writes a folder with a configuration and one file of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    if weights is None:
        weights = safetensors({"a": tensor(2, 3), "b": tensor(4, at=24)}, bytes(40))
    (folder / "model.safetensors").write_bytes(weights)
    return folder
