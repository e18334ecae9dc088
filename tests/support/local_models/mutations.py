"""Mutations of model files, and a child process that loads each of them in a process of its own."""

import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.local_peers.random_models import Shape, make
from local_models.files.catalogue import TINY
from local_models.gguf import read
from local_models.gguf.writer import write

ODD_NUMBERS = (0, 1, 2, 3, 7, 255, 256, 257, 4096, 65_537, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
ODD_VALUES: tuple[Any, ...] = (
    *ODD_NUMBERS,
    -1,
    -(2**31),
    0.0,
    -1.0,
    1e30,
    -1e30,
    float("nan"),
    float("inf"),
    True,
    False,
)
ODD_VALUES += (
    "",
    "x",
    "x\0y",
    "llama",
    "gpt2",
    "none",
    "<0x00>",
    "\ufffd" * 300,
    "é" * 70_000,
    [],
    [0],
    [1, 2, 3],
    ["a", "b"],
)
TYPES = (
    0,
    1,
    2,
    3,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    29,
    30,
    34,
    35,
    39,
)


def tensors_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the metadata and the tensors of a file of F32 and F16 tensors."""
    header, raw = read(path, arrays=True), path.read_bytes()
    tensors = {}
    for tensor in header.tensors:
        start = header.data_at + tensor.offset
        kind = {"F32": np.float32, "F16": np.float16}[tensor.type_name]
        array = np.frombuffer(raw[start : start + tensor.size_bytes], kind)
        tensors[tensor.name] = array.reshape(tuple(reversed(tensor.shape)))
    return dict(header.metadata), tensors


def originals(folder: Path) -> list[Path]:
    """Makes three files that differ in tokenizer and architecture: the tiny model, one of BPE, and a Qwen2."""
    bpe, qwen = folder / "bpe.gguf", folder / "qwen2.gguf"
    make(Shape("small-bpe", "gpt2", 64, 2, 4, 2, 96, 700, 512), bpe)
    metadata, tensors = tensors_of(bpe)
    metadata = {key.replace("llama.", "qwen2."): value for key, value in metadata.items()}
    metadata |= {"general.architecture": "qwen2", "tokenizer.ggml.pre": "qwen2"}
    del tensors["output.weight"]  # tied to the embedding
    for layer in range(2):
        for name, width in (("q", 64), ("k", 32), ("v", 32)):
            tensors[f"blk.{layer}.attn_{name}.bias"] = np.zeros(width, np.float32)
    write(qwen, metadata, tensors)
    return [TINY, bpe, qwen]


class Mutations:
    """Mutations of one file, each made from its seed."""

    def __init__(self, path: Path) -> None:
        self._raw = path.read_bytes()
        self._head = read(path).data_at
        self._metadata, self._tensors = tensors_of(path)

    def write(self, path: Path, seed: int) -> None:
        """Writes a mutated file."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            path.write_bytes(self._bytes(rng))
        else:
            self._structured(path, rng)

    def _bytes(self, rng: random.Random) -> bytes:
        raw = bytearray(self._raw)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(rng.choice((64, 1500, self._head, self._head)))
            width = rng.choice((1, 1, 4, 8))
            raw[at : at + width] = rng.choice(
                (bytes(rng.randrange(256) for _ in range(width)), b"\xff" * width, b"\0" * width)
            )
        return bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.05 else raw)

    def _structured(self, path: Path, rng: random.Random) -> None:
        metadata, tensors = dict(self._metadata), dict(self._tensors)
        for _ in range(rng.choice((1, 1, 2))):
            kind, key = rng.random(), rng.choice(list(metadata))
            if kind < 0.15:
                metadata.pop(key, None)
            elif kind < 0.45 and isinstance(metadata[key], list) and metadata[key]:
                values = list(metadata[key])
                sort = type(values[0])
                for _ in range(rng.choice((1, 1, 20))):
                    at = rng.randrange(len(values))
                    odd = [value for value in ODD_VALUES if type(value) is sort]
                    values[at] = rng.choice([*odd, values[rng.randrange(len(values))]])
                metadata[key] = values[: rng.randrange(len(values))] if rng.random() < 0.1 else values
            elif kind < 0.75:
                same = [value for value in ODD_VALUES if type(value) is type(metadata[key])]
                metadata[key] = rng.choice(same if same and rng.random() < 0.8 else ODD_VALUES)
            else:
                name = rng.choice(list(tensors))
                array = tensors[name]
                tensors[name] = rng.choice(
                    (
                        array.astype(np.float32),
                        array.astype(np.float16),
                        array.reshape(-1),
                        array[: max(len(array) // 2, 1)],
                        array.reshape((1, *array.shape)),
                        np.full_like(array, np.nan),
                        array.T.copy(),
                    )
                )
                if rng.random() < 0.2:
                    del tensors[name]
        try:
            write(path, metadata, tensors)
        except Exception:  # noqa: BLE001  # the writer refuses this value
            path.write_bytes(self._bytes(rng))
        if rng.random() < 0.25:
            self._change_type(path, rng)

    @staticmethod
    def _change_type(path: Path, rng: random.Random) -> None:
        """Gives a tensor another type: its data may be too short, too long, or of the same size."""
        raw = bytearray(path.read_bytes())
        try:
            names = [tensor.name for tensor in read(path).tensors]
        except Exception:  # noqa: BLE001
            return
        name = rng.choice(names).encode()
        at = raw.find(len(name).to_bytes(8, "little") + name) + 8 + len(name)
        dimensions = int.from_bytes(raw[at : at + 4], "little")
        at += 4 + 8 * dimensions
        raw[at : at + 4] = rng.choice(TYPES).to_bytes(4, "little")
        path.write_bytes(raw)


LOAD = """
import os, resource, signal, sys
from pathlib import Path
from local_models import LoadOptions
from local_models.engine.loading import load_backend
from local_models.errors import LocalModelError
from local_models.llama import library
from tests.support.local_models.mutations import Mutations, originals

def load(path):
    import asyncio
    async def use():
        backend = await load_backend(path, LoadOptions(threads=1, sequences=1, context=256))
        from local_models.model import LocalModel
        async with LocalModel(backend, LoadOptions()) as model:
            try:
                asked = [{"role": "user", "content": "Count from 1 to 9. \\u00e4\\u4e16 \\U0001f600 \\x01"}]
                await model.chat(asked, max_tokens=4, temperature=0)
            except LocalModelError:
                pass
            await model.complete("hello", max_tokens=4, grammar='root ::= [a-z]{3}')
            await model.embed("hello")
            for token in range(min(backend._parts.weights.vocabulary, 2000)):
                backend._parts.weights.piece(token), backend._parts.weights.text_of(token)
    asyncio.run(use())

folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
made = [Mutations(path) for path in originals(folder)]
library()
os.environ["GGML_NO_BACKTRACE"] = "1"  # else it starts a debugger
ended = {"loaded": 0, "refused": 0}
bad = []
sys.stdout.flush()
for seed in range(first, first + count):
    path = folder / "mutated.gguf"
    made[seed % 3].write(path, seed)
    child = os.fork()
    if not child:
        signal.alarm(60)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 0
        try:
            load(str(path))
        except LocalModelError as error:
            code = 1
        except BaseException as error:
            print("seed", seed, "raises", repr(error)[:300], flush=True)
            code = 2
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) > 1:
        how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        print("seed", seed, "ends the process:", how, flush=True)
        bad.append(seed)
        (folder / f"bad-{seed}.gguf").write_bytes(path.read_bytes())
    else:
        ended["refused" if os.WEXITSTATUS(status) else "loaded"] += 1
print("loaded", ended["loaded"], "refused", ended["refused"], "bad", bad)
"""
