"""Checks of a GGUF file that llama.cpp itself would answer by aborting the process."""

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
        required = name in ("block_count", "context_length", "embedding_length")
        if (value is None and required) or (value is not None and not all(_plausible(v) for v in values)):
            raise refuse(f"`{architecture}.{name}` is {value!r}")
    heads = data.get(f"{architecture}.attention.head_count")
    kv_heads = data.get(f"{architecture}.attention.head_count_kv", heads)
    width = data[f"{architecture}.embedding_length"]
    if isinstance(heads, int) and isinstance(kv_heads, int):
        if not heads or not kv_heads or heads % kv_heads:
            raise refuse(f"{heads} heads do not share {kv_heads} KV heads evenly")
        if f"{architecture}.attention.key_length" not in data and width % heads:
            raise refuse(f"an embedding of {width} does not divide into {heads} heads")
    _check_vocabulary(header, refuse)
    _check_shapes(header, architecture, refuse)
    return header


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
    for name in ("scores", "token_type"):
        value = data.get(f"tokenizer.ggml.{name}")
        if value is not None and _length(value) != count:
            raise refuse(f"`tokenizer.ggml.{name}` has {_length(value)} entries for {count} tokens")
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
        if not isinstance(merges, list) or not all(isinstance(m, str) and " " in m for m in merges):
            raise refuse("`tokenizer.ggml.merges` is not a list of pairs")


def _check_shapes(header: Header, architecture: str, refuse: Any) -> None:
    data = header.metadata
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None:
        raise refuse("it has no tensor `token_embd.weight`")
    width, count = data[f"{architecture}.embedding_length"], len(data["tokenizer.ggml.tokens"])
    if embedding.shape != (width, count):
        raise refuse(f"`token_embd.weight` is {embedding.shape}, not {(width, count)}")
