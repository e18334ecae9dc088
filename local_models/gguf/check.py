"""Checks of a GGUF file that llama.cpp itself would answer by aborting the process."""

from math import isfinite
from typing import Any

from local_models.errors import BadModelFile
from local_models.gguf.reader import Header, Skipped, read

_COUNTS = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "rope.dimension_count",
)
_SINGLE = ("block_count", "context_length", "embedding_length")  # required; the other counts may differ by layer
_TOKEN_TYPES = frozenset(range(7))
_MOST_LAYERS, _MOST_EXPERTS = 512, 1024  # of llama.cpp
_ROPE_SCALING = ("none", "linear", "yarn", "longrope")
# Architectures whose every head is rotated whole
_WHOLE_ROPE = frozenset(
    ["llama", "mistral3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "internlm2", "olmo2", "smollm3", "starcoder2"]
)
# ggml computes with weights of these types; the others hold what it makes itself, and end the process as weights
_NOT_WEIGHTS = ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64")


def _length(value: Any) -> int:
    return value.length if isinstance(value, Skipped) else len(value) if isinstance(value, list) else -1


def check(path: str) -> Header:
    """Returns the header of a file that is safe to load; raises `BadModelFile` with the reason otherwise."""
    header = read(path, arrays=True)
    data = header.metadata

    def refuse(why: str) -> BadModelFile:
        return BadModelFile(f"{path}: {why}", path=path)

    kind = data.get("general.type", "model")
    if kind != "model":
        raise refuse(f"this is a GGUF of type `{kind}`, not a model")
    architecture = data.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise refuse("it names no architecture")
    if not header.tensors:
        raise refuse("it has no tensors: a vocabulary, not a model")
    if _number(data.get("split.count", 0)) > 1:
        raise refuse("it is one part of a split model: join the parts with llama-gguf-split --merge")
    for name in _COUNTS:
        value = data.get(f"{architecture}.{name}")
        values = value if isinstance(value, list) else [value]
        wrong = value is not None and not all(_plausible(v) for v in values)
        if wrong or (name in _SINGLE and (not isinstance(value, int) or value == 0)):
            raise refuse(f"`{architecture}.{name}` is {value!r:.40}")
    heads = data.get(f"{architecture}.attention.head_count")
    kv_heads = data.get(f"{architecture}.attention.head_count_kv", heads)
    width = data[f"{architecture}.embedding_length"]
    if heads == 0:
        raise refuse("it has no heads")
    if isinstance(heads, int) and isinstance(kv_heads, int):
        if not kv_heads or heads % kv_heads:
            raise refuse(f"{heads} heads do not share {kv_heads} KV heads evenly")
        if f"{architecture}.attention.key_length" not in data and width % heads:
            raise refuse(f"an embedding of {width} does not divide into {heads} heads")
    _check_vocabulary(header, refuse)
    _check_shapes(header, architecture, refuse)
    _check_hyperparameters(data, architecture, refuse)
    return header


def _check_hyperparameters(data: dict[str, Any], architecture: str, refuse: Any) -> None:
    layers = data[f"{architecture}.block_count"]
    if not isinstance(layers, int) or layers > _MOST_LAYERS:
        raise refuse(f"`{architecture}.block_count` is {layers!r}; {_MOST_LAYERS} is the most")
    for name, value in data.items():
        small = isinstance(value, float) and 0 <= value < 1
        if name.startswith(f"{architecture}.") and name.endswith("epsilon") and not small:
            raise refuse(f"`{name}` is {value!r}")
    experts, used = data.get(f"{architecture}.expert_count", 0), data.get(f"{architecture}.expert_used_count", 0)
    if (
        isinstance(experts, int)
        and isinstance(used, int)
        and not ((experts == used == 0) or 0 < used <= experts <= _MOST_EXPERTS)
    ):
        raise refuse(f"{used} of {experts} experts are used")
    scaling = data.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in _ROPE_SCALING:
        raise refuse(f"`{architecture}.rope.scaling.type` is {scaling!r:.40}")
    heads, rotated = (data.get(f"{architecture}.{name}") for name in ("attention.head_count", "rope.dimension_count"))
    if architecture in _WHOLE_ROPE and isinstance(heads, int) and rotated is not None:
        size = data.get(f"{architecture}.attention.key_length", data[f"{architecture}.embedding_length"] // heads)
        if rotated != size:
            raise refuse(f"{rotated!r} of {size!r} dimensions of a head are rotated")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _plausible(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 28


def _check_vocabulary(header: Header, refuse: Any) -> None:
    data = header.metadata
    model = data.get("tokenizer.ggml.model")
    if model in (None, "none", "no_vocab"):
        raise refuse("it has no tokenizer")
    tokens = data.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
        raise refuse("`tokenizer.ggml.tokens` is not a list of texts")
    count = len(tokens)
    bad = next((number for number, token in enumerate(tokens) if "\0" in token), None)
    if bad is not None:
        raise refuse(f"token {bad} contains a NUL")
    if len(set(tokens)) < count - tokens.count("") + ("" in tokens):
        seen: set[str] = set()
        twice = next(n for n, token in enumerate(tokens) if token and (token in seen or seen.add(token)))  # type: ignore[func-returns-value]
        raise refuse(f"token {twice} is there twice")
    for name in ("scores", "token_type"):
        value = data.get(f"tokenizer.ggml.{name}")
        if value is not None and _length(value) != count:
            raise refuse(f"`tokenizer.ggml.{name}` has {_length(value)} entries for {count} tokens")
    kinds = data.get("tokenizer.ggml.token_type")
    if kinds is not None and not (set(map(type, kinds)) <= {int} and set(kinds) <= _TOKEN_TYPES):
        raise refuse("`tokenizer.ggml.token_type` has an unknown type")
    scores = data.get("tokenizer.ggml.scores")
    if scores is not None and not (set(map(type, scores)) <= {float} and all(map(isfinite, scores))):
        raise refuse("`tokenizer.ggml.scores` are not numbers")
    for name, value in data.items():
        special = name.startswith("tokenizer.ggml.") and name.endswith("_token_id")
        if special and value != 0xFFFFFFFF and not (isinstance(value, int) and 0 <= value < count):
            raise refuse(f"`{name}` is {value!r}; there are {count} tokens")
    if model == "llama":
        have = set(tokens)
        missing = [byte for byte in range(256) if f"<0x{byte:02X}>" not in have]
        if missing:
            raise refuse(f"its vocabulary lacks the byte token <0x{missing[0]:02X}>, which llama.cpp cannot do without")
    if model == "gpt2":
        merges = data.get("tokenizer.ggml.merges")
        if not isinstance(merges, list) or not (set(map(type, merges)) <= {str} and all(" " in m for m in merges)):
            raise refuse("`tokenizer.ggml.merges` is not a list of pairs")


def _check_shapes(header: Header, architecture: str, refuse: Any) -> None:
    data = header.metadata
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None:
        raise refuse("it has no tensor `token_embd.weight`")
    width, count = data[f"{architecture}.embedding_length"], len(data["tokenizer.ggml.tokens"])
    if embedding.shape != (width, count):
        raise refuse(f"`token_embd.weight` is {embedding.shape}, not {(width, count)}")
    for tensor in header.tensors:
        if tensor.type_name in _NOT_WEIGHTS:
            raise refuse(f"`{tensor.name}` is of type {tensor.type_name}, which is not one of weights")
        vector = len([size for size in tensor.shape if size > 1]) <= 1
        if vector and tensor.name.endswith((".bias", "norm.weight")) and tensor.type_name != "F32":
            raise refuse(f"`{tensor.name}` is of type {tensor.type_name}, not F32")
