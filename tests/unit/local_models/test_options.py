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
        {"idle_unload": -1},
        {"gpu_layers": -2},
        {"gpu_layers": "all"},
        {"kv_type": "q5"},
        {"context": "512"},
        {"lora": ["x.gguf"]},
        {"isolated": "yes"},
        {"threads": 1.5},
        {"memory_bytes": -1},
        {"gpu_shares": (-1.0, 1.0)},
        {"gpu_shares": (0.0, 0.0)},
        {"gpu_shares": (1.0,), "gpu_split": "none"},
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
    assert how.shape.tokens == how.sequences * how.first_context
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


LLAMA = {"file_bytes": 5 << 30, "context": 131_072, "kv_bytes_per_token": 128 << 10}  # as one of 8 B parameters


def test_the_context_is_what_the_model_was_trained_for_as_far_as_memory_allows(summary: Summary) -> None:
    assert plan(summary, LoadOptions(), ROOMY).context_chosen == "what the model was trained for"
    large = msgspec.structs.replace(summary, **LLAMA)
    roomy = msgspec.structs.replace(ROOMY, free_bytes=256 << 30)
    half = plan(large, LoadOptions(), roomy)
    assert 32_768 < half.context < 65_536
    assert half.context_chosen == "what the memory has room for; the model was trained for 131072"
    assert half.shape.tokens == half.sequences * half.first_context
    assert half.first_context == 1024
    smaller = plan(large, LoadOptions(kv_type="q4_0"), roomy)
    assert smaller.context == 131_072
    asked = plan(large, LoadOptions(context=100_000), roomy)
    assert (asked.first_context, asked.sequences) == (asked.context, 1)
    assert "beyond" in plan(summary, LoadOptions(context=5000), ROOMY).context_chosen
    little = plan(large, LoadOptions(), msgspec.structs.replace(ROOMY, free_bytes=6 << 30))
    assert little.context == 8192  # all that the weights leave
    scarce = plan(large, LoadOptions(), msgspec.structs.replace(ROOMY, free_bytes=(5 << 30) + (200 << 20)))
    assert 1024 < scarce.context < 2048
    bounded = plan(large, LoadOptions(memory_bytes=6 << 30), roomy)
    assert bounded.context * (128 << 10) <= 1 << 30
    long_rope = msgspec.structs.replace(large, rope_scaling="longrope")
    assert plan(long_rope, LoadOptions(), roomy).context == 4096


def test_an_error_of_memory_advises_what_can_be_done(summary: Summary) -> None:
    large = msgspec.structs.replace(summary, **LLAMA)
    small = msgspec.structs.replace(ROOMY, free_bytes=4 << 30)
    with pytest.raises(OutOfMemory, match="a smaller model, or one with fewer bits, or end other programs"):
        plan(large, LoadOptions(), small)
    enough = msgspec.structs.replace(ROOMY, free_bytes=6 << 30)
    with pytest.raises(OutOfMemory, match="choose a smaller `context`, or end"):
        plan(large, LoadOptions(context=32_768), enough)
    with pytest.raises(OutOfMemory, match="fewer than 64 `sequences`, or end"):
        plan(large, LoadOptions(sequences=64), enough)
    with pytest.raises(OutOfMemory, match=r"the budget is 5120 MiB.*or give it a larger budget"):
        plan(large, LoadOptions(sequences=64, memory_bytes=5 << 30), ROOMY)
    with pytest.raises(BadOption, match=r"llama\.cpp finds no GPU here"):
        plan(summary, LoadOptions(gpu_layers=3), ROOMY)


def test_little_memory_gives_fewer_sequences(summary: Summary) -> None:
    few = plan(summary, LoadOptions(), msgspec.structs.replace(ROOMY, free_bytes=40 << 20))
    assert few.sequences < plan(summary, LoadOptions(), ROOMY).sequences
