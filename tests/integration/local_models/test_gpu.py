"""Models on a GPU: the same answers as on the CPU, wherever the layers lie. Left out where llama.cpp finds none."""

from pathlib import Path
from typing import Any

import pytest

from local_models import BadOption
from local_models.llama import devices
from tests.support.local_models.models import TINY, opened, user
from tests.support.local_models.real_model import real_model

QUESTIONS = ("What is 21 + 34?", "Count from 1 to 9.", "Say: three chairs")


async def answers(model: str | Path, **options: Any) -> tuple[list[str], str]:
    """Greedy answers to all questions, and the device that computed them."""
    async with opened(model, **options) as loaded:
        said = [(await loaded.chat(user(text), max_tokens=24, temperature=0)).text for text in QUESTIONS]
        return said, loaded.statistics().device


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"gpu_layers": -1}, {"gpu_layers": 2}, {"gpu_layers": -1, "kv_type": "q8_0"}])
async def test_the_small_model_answers_as_on_the_cpu(options: dict[str, Any]) -> None:
    here, there = await answers(TINY, gpu_layers=0), await answers(TINY, **options)
    assert here[1] == "CPU" != there[1]
    assert there[0] == here[0]


@pytest.mark.gpu
@pytest.mark.parametrize("split", ["none", "layer", "row"])
async def test_a_real_model_answers_on_all_gpus_or_on_one(split: str) -> None:
    async with opened(real_model(), gpu_layers=-1, gpu_split=split) as model:
        reply = await model.chat(user("What is the capital of France?"), max_tokens=24, temperature=0)
        assert "Paris" in reply.text
        assert model.statistics().gpu_layers == -1


@pytest.mark.gpu
async def test_all_on_the_first_gpu_by_shares() -> None:
    before = next(device for device in devices() if device.kind == "gpu").free_bytes
    async with opened(real_model(), gpu_layers=-1, gpu_shares=(1.0, *[0.0] * 3)) as model:
        assert (await model.chat(user("Hi"), max_tokens=4, temperature=0)).text
        after = next(device for device in devices() if device.kind == "gpu").free_bytes
        assert before - after > 60 << 20


async def test_layers_for_a_gpu_that_is_not_there_are_refused() -> None:
    """Where there is one, more shares than llama.cpp has devices are."""
    if any(device.kind == "gpu" for device in devices()):
        wrong: dict[str, Any] = {"gpu_shares": (1.0,) * 100}
    else:
        wrong = {"gpu_layers": 4}
    with pytest.raises(BadOption, match=r"gpu_shares|three-mode doctor"):
        async with opened(TINY, **wrong):
            pass
    async with opened(TINY, gpu_layers=0, gpu_split="none") as model:
        assert "55" in (await model.chat(user("What is 21 + 34?"), temperature=0)).text
