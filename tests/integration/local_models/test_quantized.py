"""Quantized weights run on every processor, also where llama.cpp keeps them in tiles (AMX)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.local_peers.random_models import model
from local_models.gguf import check
from local_models.gguf.writer import Q8_0, write
from local_models.llama import amx_is_sound, library, system_info
from tests.support.local_models.children import run_child, survives
from tests.support.local_models.mutations import tensors_of

ANSWER = """
import asyncio, sys
from local_models import LoadOptions, LocalModel
async def main():
    async with await LocalModel.load(sys.argv[1], LoadOptions(context=256, sequences=2)) as model:
        reply = await model.complete("hello there my friend, how are you", max_tokens=5, temperature=0)
        print(len((await model.embed("hello"))[0]), reply.tokens)
asyncio.run(main())
"""


def quantized(weights: NDArray[Any]) -> NDArray[Any]:
    """The weights in blocks of 32 small integers and a scale."""
    blocks = weights.astype(np.float32).reshape(*weights.shape[:-1], -1, 32)
    scale = np.abs(blocks).max(axis=-1) / 127
    made = np.zeros(blocks.shape[:-1], Q8_0)
    made["scale"] = scale
    made["values"] = np.round(blocks / np.where(scale == 0, 1, scale)[..., None])
    return made


def test_quantized_weights_do_not_end_the_process(tmp_path: Path) -> None:
    plain = Path(model("random-3m-spm", tmp_path))
    metadata, tensors = tensors_of(plain)
    path = tmp_path / "quantized.gguf"
    write(path, metadata, {k: quantized(v) if v.dtype == np.float16 else v for k, v in tensors.items()})
    assert any(tensor.type_name == "Q8_0" for tensor in check(str(path)).tensors)
    width, _, tokens = survives(run_child(ANSWER, str(path))).partition(" ")
    assert width == "192"
    assert len(tokens.split(",")) == 5


def test_amx_is_used_where_the_library_says_that_it_is_sound() -> None:
    marked = hasattr(library().quick, "three_mode_amx_tiles_are_whole")
    assert amx_is_sound() == (marked or "AMX_INT8 = 1" not in system_info())
