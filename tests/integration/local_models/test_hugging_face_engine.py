"""What the worker of a Hugging Face model refuses, and what its engine does step by step: found by a process that has
PyTorch, see tests/support/local_models/hugging_face.py."""

from pathlib import Path
from typing import Any

import pytest

Told = tuple[Path, dict[str, Any]]
pytestmark = [pytest.mark.hf, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("cuda", "BadOption: PyTorch"),
        ("lacking", "BadModelFile: the weights of lacking are not whole: 1 tensors are missing"),
        ("code", "BadModelFile: code needs code from its repository, which is never run"),
        ("tokenizer", "BadModelFile: tokenizer needs code from its repository, which is never run"),
        ("encoder_decoder", "BadModelFile: both is an encoder with a decoder"),
        ("no_tokenizer", "BadModelFile: transformers cannot load bare"),
    ],
)
def test_what_cannot_be_loaded_says_why(hugging_face: Told, case: str, said: str) -> None:
    assert hugging_face[1]["refusals"][case].startswith(said)


def test_neither_code_nor_a_pickle_of_a_folder_runs(hugging_face: Told) -> None:
    refusals = hugging_face[1]["refusals"]
    assert refusals["pickled"] == ""  # it has safetensors too, and only those are read
    assert refusals["ran"] is False


def test_a_cancel_acts_within_a_step(hugging_face: Told) -> None:
    """A hundred more steps could be made; the one in progress is."""
    assert hugging_face[1]["engine"]["steps_after_a_cancel"] <= 1


def test_a_long_prompt_is_computed_in_parts(hugging_face: Told) -> None:
    parts = hugging_face[1]["engine"]["parts_of_a_prompt"]
    assert len(parts) > 1
    assert max(parts) <= 8


def test_the_queue_is_bounded_and_keeps_deadlines(hugging_face: Told) -> None:
    engine = hugging_face[1]["engine"]
    assert engine["queue_full"].startswith("Overloaded: 1 calls wait already")
    assert engine["late_in_queue"].startswith("DeadlineExceeded")
    assert "time ran out in: queue" in engine["late_in_queue"]


def test_a_failure_ends_its_own_call(hugging_face: Told) -> None:
    engine = hugging_face[1]["engine"]
    assert engine["gpu_memory"].startswith("OutOfMemory")
    assert engine["memory"].startswith("OutOfMemory")
    assert engine["broken"] == "EngineFailed: cannot compute this call: ValueError: a shape"
    assert len(engine["after_failures"].split()) == 5


def test_a_short_call_does_not_wait_for_a_long_one(hugging_face: Told) -> None:
    engine = hugging_face[1]["engine"]
    assert engine["short_beside_long"] == engine["after_failures"]
    assert engine["long_is_not_done"] == 1


def test_every_caller_hears_of_the_end(hugging_face: Told) -> None:
    engine = hugging_face[1]["engine"]
    assert engine["closed"].startswith("ModelClosed")
    assert all(said.startswith("EngineFailed: the engine failed") for said in engine["engine_failed"])
    assert engine["told_of_its_failure"]
