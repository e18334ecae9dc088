"""Models of random weights with real sizes and tokenizers: `python -m benchmarks.local_peers.random_models [FOLDER]`.

Their speed is real, their text means nothing. The rows of control tokens are zero, so no answer ends early and every
call writes as many tokens as it asks for. The files are made once, in a cache folder, never in the repository.
"""

import os
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_models.gguf import write

CHARACTERS = ascii_lowercase + ascii_uppercase + digits + ".,:;!?'\"()[]{}<>|/_-+=*&%$#@^~`\\"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of one model."""

    name: str
    tokenizer: str  # llama (SPM) or gpt2 (BPE)
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    context: int = 4096
    counts: bool = False  # behind each token comes the next one of the vocabulary, at the same cost as any other


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("random-3m-bpe", "gpt2", 192, 4, 6, 2, 512, 2048),
        Shape("random-3m-spm", "llama", 192, 4, 6, 2, 512, 2048),
        Shape("random-30m-spm", "llama", 512, 8, 8, 2, 1408, 8192),
        Shape("counting-30m-spm", "llama", 512, 8, 8, 2, 1408, 8192, counts=True),
        Shape("random-30m-bpe", "gpt2", 512, 8, 8, 2, 1408, 8192),
        Shape("random-200m-spm", "llama", 1024, 16, 16, 4, 2816, 16384),
        Shape("random-200m-bpe", "gpt2", 1024, 16, 16, 4, 2816, 16384),
    )
}


def _words(count: int) -> list[str]:
    """Makes words of two to four letters: each is a shorter word and a letter, as merges need."""
    made: list[str] = []
    for length in (2, 3, 4):
        for letters in product(ascii_lowercase, repeat=length):
            if len(made) == count:
                return made
            made.append("".join(letters))
    return made


def _spm(size: int) -> dict[str, Any]:
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    fixed = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *CHARACTERS]
    words = _words(size - len(fixed))
    kinds = [2, 3, 3, 3, 3] + [6] * 256 + [1] * (1 + len(CHARACTERS) + len(words))
    scores = [0.0] * len(fixed) + [-float(rank) for rank in range(len(words))]
    return _tokenizer("llama", [*fixed, *words], kinds, 1, 4) | {
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": False,
    }


def _byte_letters() -> list[str]:
    """How byte-level BPE writes each byte as a visible letter."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


def _bpe(size: int) -> dict[str, Any]:
    letters, special = _byte_letters(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = _words(size - 256 - len(special))
    kinds = [1] * (256 + len(words)) + [3] * len(special)
    first = 256 + len(words)
    return _tokenizer("gpt2", [*letters, *words, *special], kinds, first, first + 2) | {
        "tokenizer.ggml.merges": [f"{word[:-1]} {word[-1]}" for word in words],
    }


def _tokenizer(model: str, tokens: list[str], kinds: list[int], bos: int, eos: int) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.pre": "default" if model == "llama" else "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": bos,
        "tokenizer.ggml.eos_token_id": eos,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def make(shape: Shape, path: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    tokenizer = _spm(shape.vocabulary) if shape.tokenizer == "llama" else _bpe(shape.vocabulary)

    def matrix(rows: int, columns: int) -> NDArray[Any]:
        drawn: NDArray[Any] = rng.standard_normal((rows, columns), np.float32) * columns**-0.5
        return drawn.astype(np.float16)

    ones = np.ones(shape.width, np.float32)
    output = matrix(shape.vocabulary, shape.width)
    embedded = matrix(shape.vocabulary, shape.width)
    if shape.counts:  # the layers add nothing to a token, and the output finds the one before it
        output[1:] = embedded[:-1]
    output[[i for i, kind in enumerate(tokenizer["tokenizer.ggml.token_type"]) if kind in (2, 3)]] = 0
    tensors = {
        "token_embd.weight": embedded,
        "output_norm.weight": ones,
        "output.weight": output,
    }
    kv, added = shape.width // shape.heads * shape.kv_heads, np.float16(0 if shape.counts else 1)
    for layer in range(shape.layers):
        tensors |= {
            f"blk.{layer}.attn_norm.weight": ones,
            f"blk.{layer}.attn_q.weight": matrix(shape.width, shape.width),
            f"blk.{layer}.attn_k.weight": matrix(kv, shape.width),
            f"blk.{layer}.attn_v.weight": matrix(kv, shape.width),
            f"blk.{layer}.attn_output.weight": added * matrix(shape.width, shape.width),
            f"blk.{layer}.ffn_norm.weight": ones,
            f"blk.{layer}.ffn_gate.weight": matrix(shape.hidden, shape.width),
            f"blk.{layer}.ffn_up.weight": matrix(shape.hidden, shape.width),
            f"blk.{layer}.ffn_down.weight": added * matrix(shape.width, shape.hidden),
        }
    metadata = {
        "general.architecture": "llama",
        "general.name": shape.name,
        "general.file_type": 1,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.hidden,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.width // shape.heads,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": shape.vocabulary,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, metadata | tokenizer, tensors)


def cache() -> Path:
    """Returns the folder of the models."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "three-mode" / "benchmarks"


def model(name: str, folder: Path | None = None) -> Path:
    """Returns the file of a shape, and makes it if it is not there."""
    path = (folder or cache()) / f"{name}.gguf"
    if not path.exists():
        make(SHAPES[name], path)
    return path


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for each in SHAPES:
        made = model(each, where)
        print(f"{made}: {made.stat().st_size >> 20} MiB")
