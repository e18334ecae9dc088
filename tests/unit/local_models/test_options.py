"""Options check themselves; sizing is a function of what the file says and what the machine has."""

from typing import Any

import msgspec
import pytest

from local_models import BadOption, Generate, LoadOptions, OutOfMemory
from local_models.files.catalogue import TINY
from local_models.gguf import Summary, read, summarize
from local_models.llama import Device
from local_models.llama.sizing import Machine, gpu_layers, plan
from local_models.options import with_changes

ROOMY = Machine(cores=8, free_bytes=16 << 30)
GPU = Device(name="CUDA0", description="a GPU", kind="gpu", free_bytes=8 << 30, total_bytes=8 << 30)


@pytest.fixture
def summary() -> Summary:
    return summarize(read(TINY))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequences": 257},
        {"batch": 1},
        {"context": -1},
        {"step_ms": 0},
        {"queue": 0},
        {"prefix_tokens": -2},
        {"speculate": 0},
        {"speculate": 17},
    ],
)
def test_load_options_that_cannot_be_right_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as caught:
        LoadOptions(**wrong)
    assert caught.value.field == next(iter(wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": 11},
        {"top_p": 0},
        {"min_p": 1},
        {"seed": 2**32},
        {"stop": ("",)},
        {"grammar": "x", "schema": {}},
        {"logprobs": 51},
        {"within": 0},
        {"frequency_penalty": 3},
        {"repeat_penalty": 0},
    ],
)
def test_call_options_that_cannot_be_right_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as caught:
        Generate(**wrong)
    assert caught.value.field == next(iter(wrong))


def test_changes_replace_fields_and_are_checked() -> None:
    assert with_changes(Generate(), {}) == Generate()
    assert with_changes(Generate(top_k=1), {"max_tokens": 3}) == Generate(top_k=1, max_tokens=3)
    with pytest.raises(BadOption, match="there are"):
        with_changes(Generate(), {"maxtokens": 3})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(BadOption):
        with_changes(Generate(), {"max_tokens": 0})


def test_the_cpu_gets_streams_and_leaves_a_core_for_the_loop(summary: Summary) -> None:
    how = plan(summary, LoadOptions(), ROOMY)
    assert not how.shape.unified
    assert how.threads == 7
    assert how.context == 2048
    assert how.shape.tokens == how.sequences * how.context
    assert how.kv_bytes <= ROOMY.free_bytes // 4
    assert plan(summary, LoadOptions(), msgspec.structs.replace(ROOMY, cores=1)).threads == 1


def test_all_cores_compute_while_no_loop_needs_one(summary: Summary) -> None:
    assert plan(summary, LoadOptions(), ROOMY).most_threads == 8
    assert plan(summary, LoadOptions(), ROOMY, own_process=True).threads == 8
    chosen = plan(summary, LoadOptions(threads=3), ROOMY)
    assert (chosen.threads, chosen.most_threads) == (3, 3)


def test_a_gpu_gets_the_pool_and_the_layers_that_fit(summary: Summary) -> None:
    how = plan(summary, LoadOptions(), msgspec.structs.replace(ROOMY, gpu=GPU))
    assert how.shape.unified
    assert how.gpu_layers == -1
    assert how.device == "a GPU"
    big = msgspec.structs.replace(summary, file_bytes=16 << 30, layers=32)
    assert 0 < gpu_layers(big, LoadOptions(), GPU, kv_bytes=1 << 30) < 32
    assert gpu_layers(big, LoadOptions(gpu_layers=5), GPU, kv_bytes=0) == 5
    assert gpu_layers(big, LoadOptions(), None, kv_bytes=0) == 0


def test_what_does_not_fit_is_refused_before_loading(summary: Summary) -> None:
    small = msgspec.structs.replace(ROOMY, free_bytes=3 << 20)
    with pytest.raises(OutOfMemory, match="MiB"):
        plan(summary, LoadOptions(sequences=64), small)
    with pytest.raises(BadOption, match="batch"):
        plan(summary, LoadOptions(sequences=64, batch=32), ROOMY)
    with pytest.raises(BadOption, match="unified"):
        plan(summary, LoadOptions(pool=512), ROOMY)


def test_little_memory_gives_fewer_sequences(summary: Summary) -> None:
    few = plan(summary, LoadOptions(), msgspec.structs.replace(ROOMY, free_bytes=40 << 20))
    assert few.sequences < plan(summary, LoadOptions(), ROOMY).sequences
