"""Vectors of texts by an encoder: the mean of its last layer, or the first token's where the model's folder says so."""

import json
from pathlib import Path
from typing import Any

import torch

from local_models.transformers.torch_model import TorchModel, translate_torch


def takes_first_token(folder: Path) -> bool:
    """Whether the folder, as the sentence-transformers library writes it, pools by the first token."""
    try:
        settings: Any = json.loads((folder / "1_Pooling" / "config.json").read_text())
        return bool(settings["pooling_mode_cls_token"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def vector_of(model: TorchModel, tokens: list[int], *, first_token: bool) -> list[float]:
    """Returns the vector of a text, of length 1."""
    with translate_torch("embed this text"), torch.inference_mode():
        hidden = model.network(input_ids=torch.tensor([tokens], device=model.device)).last_hidden_state[0].float()
        pooled = hidden[0] if first_token else hidden.mean(0)
        vector: list[float] = torch.nn.functional.normalize(pooled, dim=0).tolist()
        return vector
