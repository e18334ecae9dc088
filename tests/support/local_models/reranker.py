"""A small reranker of random weights in GGUF: an encoder with a classifier, as bge-reranker is."""

from pathlib import Path

from tests.support.local_models.encoder import RANK, ids, make_encoder


def make_reranker(path: Path, seed: int = 1, template: str = "") -> Path:
    """Writes the model; the same for the same seed. `template` says how it reads a query with a document."""
    named = {"chat_template": "{{ messages }}", "chat_template.rerank": template} if template else {}
    return make_encoder(path, RANK, seed, **named)


def pair_of(query: str, document: str) -> list[int]:
    """The tokens that the model should read: [CLS] query [SEP] document [SEP]."""
    return [2, *ids(query), 3, *ids(document), 3]
