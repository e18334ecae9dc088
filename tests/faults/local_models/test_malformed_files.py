"""Broken model files: each gets an error that names the file, before or from llama.cpp, and the process lives on."""

import random
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_models.errors import BadModelFile, ModelNotFound
from local_models.files.catalogue import TINY
from local_models.gguf import check, read, summarize
from local_models.gguf.writer import write
from tests.support.local_models.children import run_child, survives
from tests.support.local_models.mutations import LOAD

HEAD = read(TINY).data_at


def rewritten(path: Path, changes: dict[str, Any], without: str = "") -> Path:
    """The tiny model with other metadata, and a tensor less."""
    header = read(TINY, arrays=True)
    raw = TINY.read_bytes()
    tensors = {}
    for tensor in header.tensors:
        start = header.data_at + tensor.offset
        kind = {"F32": np.float32, "F16": np.float16}[tensor.type_name]
        array = np.frombuffer(raw[start : start + tensor.size_bytes], kind)
        if tensor.name != without:
            tensors[tensor.name] = array.reshape(tuple(reversed(tensor.shape)))
    metadata = {key: value for key, value in (header.metadata | changes).items() if value is not None}
    write(path, metadata, tensors)
    return path


def test_what_the_writer_writes_the_reader_reads(tmp_path: Path) -> None:
    copy = rewritten(tmp_path / "copy.gguf", {"x.flag": True, "x.list": ["a", "b"], "x.number": -3})
    before, after = read(TINY, arrays=True), check(str(copy))
    assert after.tensors == before.tensors
    assert after.metadata == before.metadata | {"x.flag": True, "x.list": ["a", "b"], "x.number": -3}
    assert summarize(after).parameters == summarize(before).parameters


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"general.architecture": None}, "names no architecture"),
        ({"general.type": "adapter"}, "not a model"),
        ({"llama.block_count": None}, "block_count"),
        ({"llama.attention.head_count_kv": 3}, "evenly"),
        ({"llama.embedding_length": 256}, "token_embd.weight"),
        ({"llama.embedding_length": [1, 2, 3]}, "embedding_length"),
        ({"llama.context_length": [1, 2, 3]}, "context_length"),
        ({"llama.attention.head_count": 0, "llama.attention.head_count_kv": [1]}, "no heads"),
        ({"tokenizer.ggml.model": None}, "no tokenizer"),
        ({"tokenizer.ggml.scores": [0.0]}, "scores"),
        ({"tokenizer.ggml.bos_token_id": 70_000}, "bos_token_id"),
        ({"split.count": 2}, "one part of a split model"),
        ({"general.alignment": 33}, "alignment"),
        ({"llama.block_count": 0}, "block_count"),
        ({"llama.block_count": 4096}, "block_count"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "epsilon"),
        ({"llama.rope.dimension_count": 2}, "rotated"),
        ({"llama.rope.scaling.type": "x"}, "scaling"),
        ({"llama.expert_count": 4}, "experts"),
    ],
)
def test_metadata_that_cannot_be_right_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadModelFile, match=said):
        check(str(rewritten(tmp_path / "bad.gguf", changes)))


def test_a_missing_byte_token_is_told_before_llama_cpp_throws(tmp_path: Path) -> None:
    tokens = list(read(TINY, arrays=True).metadata["tokenizer.ggml.tokens"])
    tokens[tokens.index("<0x41>")] = "nothing"
    with pytest.raises(BadModelFile, match="<0x41>"):
        check(str(rewritten(tmp_path / "bad.gguf", {"tokenizer.ggml.tokens": tokens})))


@pytest.mark.parametrize(("token", "said"), [("x\0y", "NUL"), ("<s>", "twice")])
def test_tokens_that_llama_cpp_does_not_survive(tmp_path: Path, token: str, said: str) -> None:
    tokens = list(read(TINY, arrays=True).metadata["tokenizer.ggml.tokens"])
    tokens[300] = token
    with pytest.raises(BadModelFile, match=said):
        check(str(rewritten(tmp_path / "bad.gguf", {"tokenizer.ggml.tokens": tokens})))


@pytest.mark.parametrize("kind", [-1, 7, 1 << 20])
def test_unknown_types_of_tokens_are_refused(tmp_path: Path, kind: int) -> None:
    kinds = list(read(TINY, arrays=True).metadata["tokenizer.ggml.token_type"])
    kinds[300] = kind
    with pytest.raises(BadModelFile, match="unknown type"):
        check(str(rewritten(tmp_path / "bad.gguf", {"tokenizer.ggml.token_type": kinds})))


@pytest.mark.parametrize(
    ("name", "kind"), [("token_embd.weight", 26), ("token_embd.weight", 25), ("output_norm.weight", 1)]
)
def test_tensors_of_types_that_are_no_weights_are_refused(tmp_path: Path, name: str, kind: int) -> None:
    raw = bytearray(TINY.read_bytes())
    spelled = name.encode()
    at = raw.index(len(spelled).to_bytes(8, "little") + spelled) + 8 + len(spelled)
    at += 4 + 8 * int.from_bytes(raw[at : at + 4], "little")
    raw[at : at + 4] = kind.to_bytes(4, "little")
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw)
    with pytest.raises(BadModelFile):
        check(str(path))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"llama.block_count": 2**32 - 1}, None),  # as a list of them, 32 GiB
        ({"llama.context_length": float("nan"), "llama.block_count": float("inf")}, 0),
        ({"llama.context_length": ["many"], "llama.attention.head_count_kv": ["a", "b"]}, 0),
    ],
)
def test_a_header_that_claims_anything_is_summed_up_in_little_memory(
    tmp_path: Path, changes: dict[str, Any], expected: int | None
) -> None:
    """Files are listed before anybody wants to load one."""
    path = rewritten(tmp_path / "odd.gguf", changes)
    tracemalloc.start()
    found = summarize(read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert found.layers == 2**32 - 1 if expected is None else found.context == expected


@pytest.mark.parametrize("length", [0, 3, 10, 24, 200, HEAD - 1, HEAD + 10])
def test_a_truncated_file_is_called_truncated_or_no_gguf(tmp_path: Path, length: int) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(TINY.read_bytes()[:length])
    with pytest.raises(BadModelFile, match=r"truncated|not a GGUF"):
        check(str(path))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ModelNotFound):
            check(str(path))


@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_give_an_error(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + body)
    with pytest.raises(BadModelFile):
        check(str(path))


def mutated(seed: int) -> bytes:
    """The tiny model with a few bytes of its head changed, or cut off."""
    rng = random.Random(seed)
    raw = bytearray(TINY.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(rng.choice((64, 1500, HEAD, HEAD)))
        width = rng.choice((1, 1, 4, 8))
        raw[at : at + width] = rng.choice(
            (
                bytes(rng.randrange(256) for _ in range(width)),
                b"\xff" * width,
                b"\0" * width,
            )
        )
    return bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.1 else raw)


SCRIPT = """
import sys
from pathlib import Path
from local_models.errors import LocalModelError
from local_models.llama import Context, ContextShape, Weights
from local_models.gguf import check
refused = loaded = 0
for path in sorted(Path(sys.argv[1]).glob("*.gguf")):
    print(path.name, flush=True)
    try:
        check(str(path))
        weights = Weights(str(path), gpu_layers=0, mmap=True)
        try:
            shape = ContextShape(sequences=1, tokens=256, batch=32, threads=1, unified=False)
            context = Context(weights, shape)
            tokens = weights.tokenize("Count from 1 to 9.", special=True, start=True)
            context.tokens[: len(tokens)] = tokens
            context.positions[: len(tokens)] = range(len(tokens))
            context.wanted[len(tokens) - 1] = 1
            context.decode(len(tokens))
            weights.piece(int(context.logits(1)[0].argmax()))
            context.close()
            loaded += 1
        finally:
            weights.close()
    except LocalModelError as error:
        assert str(error)
        refused += 1
print("refused", refused, "loaded", loaded)
"""


def test_a_fuzzed_set_never_crashes_the_process(tmp_path: Path) -> None:
    for seed in range(150):
        (tmp_path / f"{seed:03}.gguf").write_bytes(mutated(seed))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1]}: {done.stderr[-2000:]}"
    refused = int(lines[-1].split()[1])
    assert refused > 30, "the mutations were too mild to show anything"


def load_mutations(folder: Path, first: int, count: int, seconds: float) -> None:
    done = run_child(LOAD, str(folder), str(first), str(count), seconds=seconds)
    assert survives(done).splitlines()[-1].endswith("bad []"), done.stdout[-2000:]


@pytest.mark.timeout(300)
def test_mutations_of_three_files_neither_end_nor_hang_a_process(tmp_path: Path) -> None:
    load_mutations(tmp_path, 0, 500, seconds=1000)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_twenty_thousand_mutations_neither_end_nor_hang_a_process(tmp_path: Path, part: int) -> None:
    load_mutations(tmp_path, 1_000_000 + 2000 * part, 2000, seconds=3500)
