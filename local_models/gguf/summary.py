"""Summary of a GGUF file: architecture, size, context, quantization, template, and the memory that the model needs."""

from collections import Counter
from math import isfinite
from typing import Any

import msgspec

from local_models.gguf.reader import Header, Skipped

KV_BLOCK = 32  # numbers that a quantized cache keeps together
KV_BLOCK_BYTES = {"f16": 64, "q8_0": 34, "q4_0": 18}
"""Bytes of a block of the KV cache, by the type of its numbers."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that a header states about its model."""

    path: str
    name: str
    architecture: str
    parameters: int
    file_bytes: int
    quantization: str  #: ggml type of most elements
    context: int  #: tokens that the model was trained for
    layers: int
    embedding: int  #: width of an embedding
    heads: int  #: attention heads of a layer
    vocabulary: int  #: number of tokens
    tokenizer: str  #: kind of tokenizer, by its name in the header
    chat_template: str  #: Jinja template; empty: the model has none
    kv_bytes_per_token: int  #: bytes of the KV cache for a token, in f16
    pools: bool  #: whether the header says how vectors of a text are pooled
    encodes: bool = False  #: whether it is an encoder, which writes nothing: it embeds, or reranks
    ranks: bool = False  #: whether the header says that it reranks documents
    rerank_template: str = ""  #: template of a query with a document; empty: the model has none
    head_widths: tuple[int, int] = (0, 0)  #: numbers in a key and in a value of one head; 0: not known
    rope_scaling: str = ""  #: how positions are stretched beyond the first training, by its name in the header

    def kv_bytes(self, tokens: int, kv_type: str = "f16") -> int:
        """Returns the bytes of a KV cache of so many tokens."""
        return self.kv_bytes_per_token * tokens * KV_BLOCK_BYTES[kv_type] // KV_BLOCK_BYTES["f16"]

    def memory_bytes(self, tokens: int, kv_type: str = "f16") -> int:
        """Returns the bytes of the weights and a KV cache of so many tokens; work buffers come on top."""
        return self.file_bytes + self.kv_bytes(tokens, kv_type)


_RANK = 4  # the pooling type of a reranker
_ENCODERS = frozenset(["bert", "nomic-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "t5encoder"])


def _number(value: Any, default: int = 0) -> int:
    if isinstance(value, list):  # some architectures have a value per layer
        return max((_number(each, default) for each in value), default=default)
    return int(value) if isinstance(value, int) or (isinstance(value, float) and isfinite(value)) else default


def _of_all_layers(value: Any, layers: int, default: int) -> int:
    """Sum over the layers of what a header says for each, or once for all. A header may claim any number of layers."""
    if isinstance(value, list) and len(value) == layers:
        return sum(_number(each) for each in value)
    return _number(value, default) * layers


def summarize(header: Header) -> Summary:
    """Returns the summary of a header; values that it lacks are 0 or empty."""
    data = header.metadata
    architecture = str(data.get("general.architecture", ""))

    def of(key: str) -> Any:
        return data.get(f"{architecture}.{key}")

    layers, embedding, heads = (
        _number(of("block_count")),
        _number(of("embedding_length")),
        _number(of("attention.head_count")),
    )
    head = embedding // heads if heads else 0
    key_width, value_width = (
        _number(of("attention.key_length"), head) or head,
        _number(of("attention.value_length"), head) or head,
    )
    kv_heads = _of_all_layers(of("attention.head_count_kv"), layers, heads)
    tokens = data.get("tokenizer.ggml.tokens")
    sizes = Counter[str]()
    for tensor in header.tensors:
        sizes[tensor.type_name] += tensor.elements
    return Summary(
        path=header.path,
        name=str(data.get("general.name", "")),
        architecture=architecture,
        parameters=sum(tensor.elements for tensor in header.tensors),
        file_bytes=header.file_bytes,
        quantization=sizes.most_common(1)[0][0] if sizes else "",
        context=_number(of("context_length")),
        layers=layers,
        embedding=embedding,
        heads=heads,
        vocabulary=tokens.length if isinstance(tokens, Skipped) else len(tokens) if isinstance(tokens, list) else 0,
        tokenizer=str(data.get("tokenizer.ggml.model", "")),
        chat_template=str(data.get("tokenizer.chat_template", "")),
        kv_bytes_per_token=2 * kv_heads * (key_width + value_width),
        pools=bool(_number(of("pooling_type"))),
        encodes=of("attention.causal") is False or architecture in _ENCODERS,
        ranks=_number(of("pooling_type")) == _RANK,
        rerank_template=str(data.get("tokenizer.chat_template.rerank", "")),
        head_widths=(key_width, value_width),
        rope_scaling=str(of("rope.scaling.type") or ""),
    )
